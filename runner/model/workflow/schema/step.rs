//! The steps of a job.

use super::{Allowed, BOOLEAN, Definition, FILLED, FILLED_OR_LIST, NULL, Shape, TEXT, mapping};

pub(super) static STEPS: Definition = Definition::of(Shape::Sequence(&STEP));

static STEP: Definition = Definition::of(Shape::OneOf(&[
    &RUN_STEP,
    &USES_STEP,
    &WAIT_STEP,
    &WAIT_ALL_STEP,
    &CANCEL_STEP,
    &PARALLEL_STEP,
]))
.called("step");

static RUN_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "if": STEP_IF,
    optional "timeout-minutes": STEP_NUMBER,
    required "run": STEP_TEXT,
    optional "continue-on-error": STEP_BOOLEAN,
    optional "env": STEP_TEXTS,
    optional "working-directory": STEP_TEXT,
    optional "shell": FILLED,
    optional "background": BOOLEAN,
});

static USES_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "if": STEP_IF,
    optional "continue-on-error": STEP_BOOLEAN,
    optional "timeout-minutes": STEP_NUMBER,
    required "uses": FILLED,
    optional "with": STEP_TEXTS,
    optional "env": STEP_TEXTS,
    optional "background": BOOLEAN,
});

static WAIT_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "continue-on-error": STEP_BOOLEAN,
    required "wait": FILLED_OR_LIST,
});

static WAIT_ALL_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "continue-on-error": STEP_BOOLEAN,
    required "wait-all": WAIT_ALL,
});

static CANCEL_STEP: Definition = Definition::of(mapping! {
    optional "name": STEP_TEXT,
    optional "id": FILLED,
    optional "continue-on-error": STEP_BOOLEAN,
    required "cancel": FILLED,
});

static PARALLEL_STEP: Definition = Definition::of(mapping! {
    required "parallel": STEPS,
});

static WAIT_ALL: Definition = Definition::of(Shape::OneOf(&[&NULL, &BOOLEAN]));
static STEP_TEXT: Definition = Definition::of(Shape::Text).allowing(Allowed::STEP);
static STEP_NUMBER: Definition = Definition::of(Shape::Number).allowing(Allowed::STEP);
static STEP_BOOLEAN: Definition = Definition::of(Shape::Boolean).allowing(Allowed::STEP);
static STEP_TEXTS: Definition = Definition::of(mapping!(others: TEXT)).allowing(Allowed::STEP);
static STEP_IF: Definition = Definition::of(Shape::Condition).allowing(Allowed::STEP_CONDITION);
