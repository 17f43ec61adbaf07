//! `action.yml`.

use super::{ANY, APART, Allowed, Definition, FILLED, Shape, TEXT, mapping};

/// An action's manifest; `runs` is read apart, since its keys depend on `using`.
pub(in crate::workflow) static ACTION: Definition = Definition::of(mapping! {
    optional "name": TEXT,
    optional "description": TEXT,
    optional "author": ANY,
    optional "inputs": INPUTS,
    optional "outputs": OUTPUTS,
    required "runs": APART;
    others: ANY
})
.called("an action");

static INPUTS: Definition = Definition::of(mapping!(others: INPUT));
static INPUT: Definition = Definition::of(mapping! {
    optional "default": INPUT_DEFAULT;
    others: ANY
})
.called("input");
static INPUT_DEFAULT: Definition = Definition::of(Shape::Text).allowing(
    Allowed::GITHUB
        .and(Allowed::STRATEGY)
        .and(Allowed::MATRIX)
        .and(Allowed::JOB)
        .and(Allowed::RUNNER)
        .and(Allowed::HASH_FILES),
);

static OUTPUTS: Definition = Definition::of(mapping!(others: OUTPUT));
static OUTPUT: Definition = Definition::of(mapping! {
    optional "description": TEXT,
    optional "value": OUTPUT_VALUE,
})
.called("output");
static OUTPUT_VALUE: Definition =
    Definition::of(Shape::Text).allowing(Allowed::COMPOSITE_STEP.without_functions());

/// `runs` of an action in a container.
pub(in crate::workflow) static CONTAINER_RUNS: Definition = Definition::of(mapping! {
    required "using": FILLED,
    required "image": FILLED,
    optional "entrypoint": FILLED,
    optional "args": CONTAINER_ARGUMENTS,
    optional "env": CONTAINER_ENV,
    optional "pre-entrypoint": FILLED,
    optional "pre-if": STAGE_IF,
    optional "post-entrypoint": FILLED,
    optional "post-if": STAGE_IF,
});
static CONTAINER_ARGUMENTS: Definition = Definition::of(Shape::Sequence(&CONTAINER_ARGUMENT));
static CONTAINER_ARGUMENT: Definition = Definition::of(Shape::Text).allowing(Allowed::INPUTS);
static CONTAINER_ENV: Definition = Definition::of(mapping!(others: TEXT)).allowing(Allowed::INPUTS);

/// The condition of what an action does before or after, with or without `${{ }}`.
static STAGE_IF: Definition = Definition::of(Shape::Text).allowing(Allowed::COMPOSITE_STEP);

/// `runs` of a Node.js action.
pub(in crate::workflow) static NODE_RUNS: Definition = Definition::of(mapping! {
    required "using": FILLED,
    required "main": FILLED,
    optional "pre": FILLED,
    optional "pre-if": STAGE_IF,
    optional "post": FILLED,
    optional "post-if": STAGE_IF,
});
/// `runs` of a composite action.
pub(in crate::workflow) static COMPOSITE_RUNS: Definition = Definition::of(mapping! {
    required "using": FILLED,
    required "steps": STEPS,
});
/// `runs` of an action of this program.
pub(in crate::workflow) static NATIVE_RUNS: Definition = Definition::of(mapping! {
    required "using": FILLED,
});

static STEPS: Definition = Definition::of(Shape::Sequence(&STEP));
static STEP: Definition = Definition::of(Shape::OneOf(&[&RUN_STEP, &USES_STEP])).called("step");
static RUN_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "if": STEP_IF,
    required "run": STEP_TEXT,
    required "shell": STEP_TEXT,
    optional "env": STEP_TEXTS,
    optional "continue-on-error": STEP_BOOLEAN,
    optional "working-directory": STEP_TEXT,
});
static USES_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "if": STEP_IF,
    required "uses": FILLED,
    optional "with": STEP_TEXTS,
    optional "env": STEP_TEXTS,
    optional "continue-on-error": STEP_BOOLEAN,
});

static STEP_TEXT: Definition = Definition::of(Shape::Text).allowing(Allowed::COMPOSITE_STEP);
static STEP_BOOLEAN: Definition = Definition::of(Shape::Boolean).allowing(Allowed::COMPOSITE_STEP);
static STEP_TEXTS: Definition =
    Definition::of(mapping!(others: TEXT)).allowing(Allowed::COMPOSITE_STEP);
static STEP_IF: Definition =
    Definition::of(Shape::Condition).allowing(Allowed::COMPOSITE_STEP.and(Allowed::STEP_STATUS));
