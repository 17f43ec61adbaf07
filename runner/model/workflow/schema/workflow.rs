//! A workflow and its jobs.

use super::step::STEPS;
use super::{
    ANY, APART, Allowed, BOOLEAN, Definition, FILLED, FILLED_LIST, FILLED_OR_LIST, NULL, NUMBER,
    Shape, TEXT, mapping,
};

/// A whole workflow; `on` is read apart, by the table of events.
pub(in crate::workflow) static WORKFLOW: Definition = Definition::of(mapping! {
    required "on": APART,
    optional "name": TEXT,
    optional "run-name": RUN_NAME,
    optional "defaults": DEFAULTS,
    optional "env": WORKFLOW_ENV,
    optional "permissions": PERMISSIONS,
    optional "concurrency": WORKFLOW_CONCURRENCY,
    required "jobs": JOBS,
})
.called("the workflow");

static RUN_NAME: Definition = Definition::of(Shape::Text).allowing(Allowed::RUN);
static DEFAULTS: Definition = Definition::of(mapping!(optional "run": DEFAULTS_RUN));
static DEFAULTS_RUN: Definition = Definition::of(mapping! {
    optional "shell": FILLED,
    optional "working-directory": FILLED,
});
static WORKFLOW_ENV: Definition =
    Definition::of(mapping!(others: TEXT)).allowing(Allowed::RUN.and(Allowed::SECRETS));

static PERMISSIONS: Definition =
    Definition::of(Shape::OneOf(&[&PERMISSION_LEVELS, &ALL_PERMISSIONS]));
static ALL_PERMISSIONS: Definition = Definition::of(Shape::Words(&["read-all", "write-all"]));
static PERMISSION_LEVELS: Definition = Definition::of(mapping! {
    optional "actions": LEVEL,
    optional "artifact-metadata": LEVEL,
    optional "attestations": LEVEL,
    optional "checks": LEVEL,
    optional "code-quality": LEVEL,
    optional "contents": LEVEL,
    optional "copilot-requests": WRITE_OR_NONE,
    optional "deployments": LEVEL,
    optional "discussions": LEVEL,
    optional "drives": LEVEL,
    optional "id-token": WRITE_OR_NONE,
    optional "issues": LEVEL,
    optional "models": READ_OR_NONE,
    optional "packages": LEVEL,
    optional "pages": LEVEL,
    optional "pull-requests": LEVEL,
    optional "repository-projects": LEVEL,
    optional "security-events": LEVEL,
    optional "statuses": LEVEL,
    optional "vulnerability-alerts": READ_OR_NONE,
});
static LEVEL: Definition = Definition::of(Shape::Words(&["read", "write", "none"]));
static READ_OR_NONE: Definition = Definition::of(Shape::Words(&["read", "none"]));
static WRITE_OR_NONE: Definition = Definition::of(Shape::Words(&["write", "none"]));

static WORKFLOW_CONCURRENCY: Definition =
    Definition::of(Shape::OneOf(&[&TEXT, &CONCURRENCY])).allowing(Allowed::RUN);
static JOB_CONCURRENCY: Definition =
    Definition::of(Shape::OneOf(&[&FILLED, &CONCURRENCY])).allowing(Allowed::JOB_BEFORE_RUN);
static CONCURRENCY: Definition = Definition::of(mapping! {
    required "group": FILLED,
    optional "cancel-in-progress": BOOLEAN,
    optional "queue": QUEUE,
});
static QUEUE: Definition = Definition::of(Shape::Words(&["single", "max"]));

static JOBS: Definition = Definition::of(mapping!(others: JOB));
static JOB: Definition = Definition::of(Shape::OneOf(&[&STEPS_JOB, &CALL_JOB])).called("job");

static STEPS_JOB: Definition = Definition::of(mapping! {
    optional "needs": FILLED_OR_LIST,
    optional "if": JOB_IF,
    optional "strategy": STRATEGY,
    optional "name": JOB_TEXT,
    required "runs-on": RUNS_ON,
    optional "timeout-minutes": JOB_NUMBER,
    optional "cancel-timeout-minutes": JOB_NUMBER,
    optional "continue-on-error": JOB_BOOLEAN,
    optional "container": CONTAINER,
    optional "services": SERVICES,
    optional "env": JOB_ENV,
    optional "environment": ENVIRONMENT,
    optional "permissions": PERMISSIONS,
    optional "concurrency": JOB_CONCURRENCY,
    optional "outputs": JOB_OUTPUTS,
    optional "defaults": JOB_DEFAULTS,
    optional "steps": STEPS,
    optional "snapshot": SNAPSHOT,
})
.called("job");

static CALL_JOB: Definition = Definition::of(mapping! {
    optional "name": JOB_TEXT,
    required "uses": FILLED,
    optional "with": CALL_WITH,
    optional "secrets": CALL_JOB_SECRETS,
    optional "needs": FILLED_OR_LIST,
    optional "if": JOB_IF,
    optional "permissions": PERMISSIONS,
    optional "concurrency": JOB_CONCURRENCY,
    optional "strategy": STRATEGY,
})
.called("job with `uses`");

static JOB_TEXT: Definition = Definition::of(Shape::Text).allowing(Allowed::JOB_BEFORE_RUN);
static JOB_NUMBER: Definition = Definition::of(Shape::Number).allowing(Allowed::JOB_BEFORE_RUN);
static JOB_BOOLEAN: Definition = Definition::of(Shape::Boolean).allowing(Allowed::JOB_BEFORE_RUN);
static JOB_IF: Definition =
    Definition::of(Shape::Condition).allowing(Allowed::JOB_BEFORE_MATRIX.and(Allowed::JOB_STATUS));
static JOB_ENV: Definition =
    Definition::of(mapping!(others: TEXT)).allowing(Allowed::JOB_BEFORE_RUN.and(Allowed::SECRETS));
static JOB_OUTPUTS: Definition = Definition::of(mapping!(others: RUNNING_TEXT));
static RUNNING_TEXT: Definition =
    Definition::of(Shape::Text).allowing(Allowed::JOB_RUNNING.and(Allowed::SECRETS));
static JOB_DEFAULTS: Definition = Definition::of(mapping!(optional "run": JOB_DEFAULTS_RUN));
static JOB_DEFAULTS_RUN: Definition = Definition::of(mapping! {
    optional "shell": FILLED,
    optional "working-directory": FILLED,
})
.allowing(Allowed::JOB_BEFORE_RUN.and(Allowed::ENV));

static CALL_WITH: Definition = Definition::of(mapping!(others: CALL_VALUE));
static CALL_VALUE: Definition =
    Definition::of(Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER])).allowing(Allowed::JOB_BEFORE_RUN);
static CALL_JOB_SECRETS: Definition = Definition::of(Shape::OneOf(&[&SECRET_VALUES, &INHERIT]));
static SECRET_VALUES: Definition = Definition::of(mapping!(others: SECRET_VALUE));
static SECRET_VALUE: Definition = Definition::of(Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]))
    .allowing(Allowed::JOB_BEFORE_RUN.and(Allowed::SECRETS));
static INHERIT: Definition = Definition::of(Shape::Words(&["inherit"]));

static STRATEGY: Definition = Definition::of(mapping! {
    optional "fail-fast": BOOLEAN,
    optional "max-parallel": NUMBER,
    optional "matrix": MATRIX,
})
.allowing(Allowed::JOB_BEFORE_MATRIX);
static MATRIX: Definition = Definition::of(mapping! {
    optional "include": MATRIX_ROWS,
    optional "exclude": MATRIX_ROWS;
    others: VECTOR
});
static VECTOR: Definition = Definition::of(Shape::Sequence(&ANY));
static MATRIX_ROWS: Definition = Definition::of(Shape::Sequence(&MATRIX_ROW));
static MATRIX_ROW: Definition = Definition::of(mapping!(others: ANY));

static RUNS_ON: Definition = Definition::of(Shape::OneOf(&[&FILLED, &FILLED_LIST, &RUNS_ON_GROUP]))
    .allowing(Allowed::JOB_BEFORE_RUN);
static RUNS_ON_GROUP: Definition = Definition::of(mapping! {
    optional "group": FILLED,
    optional "labels": FILLED_OR_LIST,
});

static ENVIRONMENT: Definition =
    Definition::of(Shape::OneOf(&[&TEXT, &ENVIRONMENT_MAPPING])).allowing(Allowed::JOB_BEFORE_RUN);
static ENVIRONMENT_MAPPING: Definition = Definition::of(mapping! {
    required "name": TEXT,
    optional "url": ENVIRONMENT_URL,
    optional "deployment": BOOLEAN,
});
static ENVIRONMENT_URL: Definition = Definition::of(Shape::Text).allowing(Allowed::JOB_RUNNING);

static SNAPSHOT: Definition = Definition::of(Shape::OneOf(&[&FILLED, &SNAPSHOT_MAPPING]));
static SNAPSHOT_MAPPING: Definition = Definition::of(mapping! {
    required "image-name": FILLED,
    optional "if": SNAPSHOT_IF,
    optional "version": FILLED,
});
static SNAPSHOT_IF: Definition = Definition::of(Shape::Condition).allowing(Allowed::JOB_BEFORE_RUN);

static CONTAINER: Definition =
    Definition::of(Shape::OneOf(&[&TEXT, &CONTAINER_MAPPING])).allowing(Allowed::JOB_BEFORE_RUN);
static CONTAINER_MAPPING: Definition = Definition::of(mapping! {
    optional "image": FILLED,
    optional "options": TEXT,
    optional "env": CONTAINER_ENV,
    optional "ports": FILLED_LIST,
    optional "volumes": FILLED_LIST,
    optional "credentials": CREDENTIALS,
});
static CONTAINER_ENV: Definition = Definition::of(mapping!(others: RUNNING_TEXT));
static CREDENTIALS: Definition = Definition::of(mapping! {
    optional "username": FILLED,
    optional "password": FILLED,
})
.allowing(Allowed::RUN.and(Allowed::SECRETS).and(Allowed::ENV));
static SERVICES: Definition =
    Definition::of(mapping!(others: SERVICE)).allowing(Allowed::JOB_BEFORE_RUN);
static SERVICE: Definition =
    Definition::of(Shape::OneOf(&[&FILLED, &SERVICE_MAPPING])).called("service");
static SERVICE_MAPPING: Definition = Definition::of(mapping! {
    optional "image": FILLED,
    optional "options": TEXT,
    optional "env": CONTAINER_ENV,
    optional "ports": FILLED_LIST,
    optional "volumes": FILLED_LIST,
    optional "credentials": CREDENTIALS,
    optional "entrypoint": TEXT,
    optional "command": TEXT,
})
.called("service");

/// The entries of `schedule`.
pub(in crate::workflow) static SCHEDULE: Definition = Definition::of(Shape::Sequence(&CRON));
static CRON: Definition = Definition::of(mapping! {
    required "cron": FILLED,
    optional "timezone": FILLED,
});

/// A filter's value: a text or a list of texts.
pub(in crate::workflow) static TEXTS: Definition =
    Definition::of(Shape::OneOf(&[&FILLED, &FILLED_LIST]));

/// `inputs` of `workflow_dispatch`.
pub(in crate::workflow) static DISPATCH_INPUTS: Definition =
    Definition::of(mapping!(others: DISPATCH_INPUT));
static DISPATCH_INPUT: Definition =
    Definition::of(Shape::OneOf(&[&DISPATCH_INPUT_MAPPING, &NULL])).called("input");
static DISPATCH_INPUT_MAPPING: Definition = Definition::of(mapping! {
    optional "description": TEXT,
    optional "deprecationMessage": TEXT,
    optional "type": DISPATCH_INPUT_TYPE,
    optional "required": BOOLEAN,
    optional "default": SCALAR,
    optional "options": TEXT_LIST,
})
.called("input");
static DISPATCH_INPUT_TYPE: Definition = Definition::of(Shape::Words(&[
    "string",
    "boolean",
    "number",
    "environment",
    "choice",
]));
static SCALAR: Definition = Definition::of(Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER]));
static TEXT_LIST: Definition = Definition::of(Shape::Sequence(&TEXT));

/// `inputs` of `workflow_call`.
pub(in crate::workflow) static CALL_INPUTS: Definition =
    Definition::of(mapping!(others: CALL_INPUT));
static CALL_INPUT: Definition = Definition::of(mapping! {
    optional "description": TEXT,
    optional "deprecationMessage": TEXT,
    required "type": CALL_INPUT_TYPE,
    optional "required": BOOLEAN,
    optional "default": CALL_INPUT_DEFAULT,
})
.called("input");
static CALL_INPUT_TYPE: Definition = Definition::of(Shape::Words(&["string", "boolean", "number"]));
static CALL_INPUT_DEFAULT: Definition =
    Definition::of(Shape::OneOf(&[&TEXT, &BOOLEAN, &NUMBER])).allowing(Allowed::RUN);

/// `secrets` of `workflow_call`.
pub(in crate::workflow) static CALL_SECRETS: Definition =
    Definition::of(mapping!(others: CALL_SECRET));
static CALL_SECRET: Definition =
    Definition::of(Shape::OneOf(&[&NULL, &CALL_SECRET_MAPPING])).called("secret");
static CALL_SECRET_MAPPING: Definition = Definition::of(mapping! {
    optional "description": TEXT,
    optional "required": BOOLEAN,
})
.called("secret");

/// `outputs` of `workflow_call`.
pub(in crate::workflow) static CALL_OUTPUTS: Definition =
    Definition::of(mapping!(others: CALL_OUTPUT));
static CALL_OUTPUT: Definition = Definition::of(mapping! {
    optional "description": TEXT,
    required "value": CALL_OUTPUT_VALUE,
})
.called("output");
static CALL_OUTPUT_VALUE: Definition =
    Definition::of(Shape::Text).allowing(Allowed::RUN.and(Allowed::JOBS));
