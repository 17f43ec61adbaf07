// parse-workflows.js FILE...: reads workflow files with GitHub's own parser and prints what it finds wrong in them, one
// line each as `FILE:LINE:COLUMN: MESSAGE`. Exit code 1 if there is anything.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

// The package imports its schema without saying that it is JSON, which node wants to be told.
registerHooks({
  load: (url, context, next) =>
    next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context),
});
const { NoOperationTraceWriter, convertWorkflowTemplate, parseWorkflow } = await import("@actions/workflow-parser");

let isValid = true;
for (const name of process.argv.slice(2)) {
  const file = { name, content: readFileSync(name, "utf8") };
  const { context, value } = parseWorkflow(file, new NoOperationTraceWriter());
  const template = value && (await convertWorkflowTemplate(context, value));
  for (const error of context.errors.getErrors()) {
    const at = error.range ? `${error.range.start.line}:${error.range.start.column}` : "1:1";
    console.log(`${name}:${at}: ${error.rawMessage ?? error.message}`);
    isValid = false;
  }
  console.log(`${name}: ${template?.jobs?.length ?? 0} jobs`);
}
process.exitCode = isValid ? 0 : 1;
