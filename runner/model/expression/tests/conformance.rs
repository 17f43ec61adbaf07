//! The conformance data that may lie beside the repository.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use serde_json::Value as Json;

use super::super::{
    EvaluationError, Expression, HashFiles, Names, Object, PatternError, Scope, StatusFunction,
    Template, Value, condition_with,
};

struct Contexts {
    contexts: Object,
    job_status: String,
}

impl Contexts {
    fn new(contexts: Option<&Json>, job_status: &str) -> Self {
        let value = contexts.map(Value::from).unwrap_or_default();
        Self {
            contexts: value.as_object().cloned().unwrap_or_default(),
            job_status: job_status.to_owned(),
        }
    }

    fn names(&self) -> Names {
        let functions = [
            "always(0,0)",
            "cancelled(0,0)",
            "failure(0,MAX)",
            "success(0,MAX)",
            "hashFiles(1,255)",
        ];
        Names::new(self.contexts.iter().map(|(name, _)| name).chain(functions))
    }
}

impl Scope for Contexts {
    fn context(&self, name: &str) -> Option<Value> {
        self.contexts.get(name).cloned()
    }

    fn status(&self, function: StatusFunction, _: &[Value]) -> Result<bool, EvaluationError> {
        Ok(match function {
            StatusFunction::Success => self.job_status == "success",
            StatusFunction::Failure => self.job_status == "failure",
            StatusFunction::Cancelled => self.job_status == "cancelled",
            StatusFunction::Always => true,
        })
    }

    /// Hashes the files of an empty folder.
    fn hash_files(&self, patterns: &[String]) -> Result<String, EvaluationError> {
        let problem = |error: PatternError| EvaluationError::Outside {
            name: "hashFiles",
            problem: error.to_string(),
        };
        let hash_files = HashFiles::parse(patterns, "/empty").map_err(problem)?;
        assert!(hash_files.select([]).is_empty());
        Ok(String::new())
    }
}

#[expect(clippy::disallowed_methods, reason = "the data lies in files")]
fn folder() -> Option<PathBuf> {
    let root = match std::env::var_os("RUNNER_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
    };
    root.join("expressions").is_dir().then_some(root)
}

#[expect(clippy::disallowed_methods, reason = "the data lies in files")]
fn read(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn cases(data: &Json) -> &[Json] {
    data["cases"].as_array().map_or(&[], Vec::as_slice)
}

/// What a case gave and should give, for the list of those that differ.
struct Tally {
    seen: usize,
    wrong: RefCell<Vec<String>>,
}

impl Tally {
    fn new() -> Self {
        Self {
            seen: 0,
            wrong: RefCell::default(),
        }
    }

    fn check(&mut self, case: &Json, got: &str, wanted: &str) {
        self.seen += 1;
        if got != wanted {
            let case = case.get("id").unwrap_or(case);
            let line = format!("{case}\n   got    {got}\n   wanted {wanted}");
            self.wrong.borrow_mut().push(line);
        }
    }

    fn finish(self, what: &str) {
        let wrong = self.wrong.into_inner();
        println!("{what}: {} of {}", self.seen - wrong.len(), self.seen);
        assert!(self.seen > 0, "{what}: no cases");
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    }
}

fn plain(json: &Json) -> String {
    // Numbers are compared as numbers: the data writes -0 as the text `-0`.
    match json {
        Json::Number(number) => format!("number {:?}", number.as_f64().unwrap() + 0.0),
        Json::String(text) if text == "-0" => "number 0.0".to_owned(),
        Json::Array(items) => format!("{:?}", items.iter().map(plain).collect::<Vec<_>>()),
        Json::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}: {}", plain(value)))
                .collect();
            format!("{pairs:?}")
        }
        other => other.to_string(),
    }
}

fn outcome(text: &str, scope: &Contexts) -> Result<Value, (&'static str, String)> {
    let expression = Expression::parse_with(text, &scope.names())
        .map_err(|error| (error.kind().class(), error.to_string()))?;
    assert!(expression.check(&scope.names()).is_ok());
    expression
        .evaluate(scope)
        .map_err(|error| ("evaluation", error.to_string()))
}

fn check_outcome(tally: &mut Tally, case: &Json, scope: &Contexts) {
    let text = case["expression"].as_str().unwrap();
    let got = outcome(text, scope);
    if let Some(error) = case.get("error") {
        let kind = error["kind"].as_str().unwrap();
        let part = error["messageContains"].as_str().unwrap();
        match got {
            Err((class, message)) if message.contains(part) => {
                tally.check(case, class, kind);
            }
            other => tally.check(case, &format!("{other:?}"), &format!("{kind}: {part}")),
        }
        return;
    }
    let wanted = &case["expected"];
    match got {
        Ok(value) => {
            let got = format!("{} {}", value.kind().name(), plain(&Json::from(&value)));
            let kind = wanted["kind"].as_str().unwrap();
            tally.check(case, &got, &format!("{kind} {}", plain(&wanted["value"])));
            if let Some(string) = wanted.get("string").and_then(Json::as_str) {
                tally.check(case, &value.to_display_string(), string);
            }
            if let Some(truthy) = wanted.get("truthy").and_then(Json::as_bool) {
                tally.check(case, &value.is_truthy().to_string(), &truthy.to_string());
            }
        }
        Err(error) => tally.check(case, &format!("{error:?}"), &wanted.to_string()),
    }
}

#[test]
fn agrees_with_the_conformance_data() {
    let Some(root) = folder() else {
        println!("skipped: there is no conformance data here");
        return;
    };
    let expressions = root.join("expressions");

    let mut tally = Tally::new();
    for entry in std::fs::read_dir(expressions.join("evaluate")).unwrap() {
        let data = read(&entry.unwrap().path());
        for case in cases(&data) {
            let scope = Contexts::new(case.get("contexts"), "success");
            check_outcome(&mut tally, case, &scope);
        }
    }
    tally.finish("evaluate");

    let mut tally = Tally::new();
    for case in cases(&read(&expressions.join("syntax.json"))) {
        let got = Expression::parse(case["expression"].as_str().unwrap()).is_ok();
        tally.check(case, &got.to_string(), &case["valid"].to_string());
    }
    tally.finish("syntax");

    let mut tally = Tally::new();
    for case in cases(&read(&expressions.join("interpolate.json"))) {
        let scope = Contexts::new(case.get("contexts"), "success");
        let template = Template::parse_with(case["template"].as_str().unwrap(), &scope.names());
        let got = template.unwrap().evaluate_to_string(&scope);
        tally.check(case, &got.unwrap(), case["expected"].as_str().unwrap());
    }
    tally.finish("interpolate");

    let mut tally = Tally::new();
    let context = read(&expressions.join("real-world-context.json"));
    let status = context["jobStatus"].as_str().unwrap();
    let scope = Contexts::new(context.get("contexts"), status);
    let data = read(&expressions.join("real-world.json"));
    for case in cases(&data)
        .iter()
        .chain(data["invalid"].as_array().unwrap())
    {
        check_outcome(&mut tally, case, &scope);
    }
    tally.finish("real-world");
}

#[test]
fn agrees_with_the_conformance_data_on_conditions() {
    let Some(root) = folder() else {
        println!("skipped: there is no conformance data here");
        return;
    };
    let mut tally = Tally::new();
    for case in cases(&read(&root.join("tables/if-conditions.json"))) {
        let status = case["jobStatus"].as_str().unwrap();
        let scope = Contexts::new(case.get("contexts"), status);
        let text = case["if"].as_str().unwrap();
        let got = match condition_with(text, &scope.names()) {
            Ok(condition) => condition.evaluate(&scope).unwrap().to_string(),
            Err(_) => "error".to_owned(),
        };
        let wanted = case
            .get("expected")
            .map_or("error".to_owned(), Json::to_string);
        tally.check(case, &got, &wanted);
    }
    tally.finish("conditions");
}

#[test]
fn agrees_with_the_conformance_data_on_hashes_of_files() {
    let Some(root) = folder() else {
        println!("skipped: there is no conformance data here");
        return;
    };
    let data = read(&root.join("expressions/hashfiles.json"));
    let files = data["files"].as_object().unwrap();
    let mut tally = Tally::new();
    for case in cases(&data) {
        let patterns: Vec<String> = case["patterns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pattern| pattern.as_str().unwrap().to_owned())
            .collect();
        let hash_files = HashFiles::parse(&patterns, "/home/me/project").unwrap();
        let selected = hash_files.select(files.keys().map(String::as_str));
        let digests: Vec<u8> = selected
            .iter()
            .flat_map(|path| sha256(files[*path].as_str().unwrap().as_bytes()))
            .collect();
        let got = if digests.is_empty() {
            String::new()
        } else {
            sha256(&digests)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        tally.check(case, &got, case["expected"].as_str().unwrap());
    }
    tally.finish("hashFiles");
}

/// SHA-256 by its definition, so that the room needs no package for a test.
fn sha256(message: &[u8]) -> [u8; 32] {
    let primes: Vec<u32> = (2_u32..312)
        .filter(|n| (2..*n).all(|d| n % d != 0))
        .collect();
    // The first 32 bits of the fractional parts of the roots.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a fraction of 2^32 fits 32 bits"
    )]
    let fraction = |root: f64| (root.fract() * 4_294_967_296.0) as u32;
    let constants: Vec<u32> = primes
        .iter()
        .map(|p| fraction(f64::from(*p).cbrt()))
        .collect();
    let mut state: Vec<u32> = primes[..8]
        .iter()
        .map(|p| fraction(f64::from(*p).sqrt()))
        .collect();

    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words: Vec<u32> = block
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        for at in 16..64 {
            let (a, b) = (words[at - 15], words[at - 2]);
            let small0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let small1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            let sum = words[at - 16].wrapping_add(words[at - 7]);
            words.push(sum.wrapping_add(small0).wrapping_add(small1));
        }
        let mut round = state.clone();
        for at in 0..64 {
            let (a, e) = (round[0], round[4]);
            let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & round[5]) ^ (!e & round[6]);
            let first = round[7]
                .wrapping_add(big1)
                .wrapping_add(choice)
                .wrapping_add(constants[at])
                .wrapping_add(words[at]);
            let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & round[1]) ^ (a & round[2]) ^ (round[1] & round[2]);
            round.rotate_right(1);
            round[4] = round[4].wrapping_add(first);
            round[0] = first.wrapping_add(big0).wrapping_add(majority);
        }
        for (own, new) in state.iter_mut().zip(round) {
            *own = own.wrapping_add(new);
        }
    }
    let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.try_into().unwrap()
}
