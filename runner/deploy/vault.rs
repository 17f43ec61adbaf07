//! `secrets fetch`: secrets out of a password manager, by its own program.

use base64::{Engine as _, engine::general_purpose};
use serde_json::{Map, Value};

/// The password managers that Kamal knows and this program does not ask yet.
const REFUSED: &[&str] = &[
    "bitwarden",
    "bitwarden-sm",
    "bitwarden_secrets_manager",
    "lastpass",
    "last_pass",
    "enpass",
    "passbolt",
];

/// Runs a program with arguments, none of which is secret, and returns what it wrote.
pub(super) type Run<'a> = &'a dyn Fn(&str, &[&str]) -> Result<String, String>;

/// A call of `secrets fetch`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    adapter: String,
    account: Option<String>,
    from: Option<String>,
    names: Vec<String>,
}

impl Call {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut call = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (option, inline) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (*word, None),
            };
            let mut value = || {
                let value = inline.or_else(|| words.next().copied());
                value
                    .map(str::to_owned)
                    .ok_or_else(|| format!("`{option}` of `secrets fetch` has no value"))
            };
            match option {
                "--adapter" | "-a" => call.adapter = value()?,
                "--account" => call.account = Some(value()?),
                "--from" => call.from = Some(value()?),
                option if option.starts_with('-') => {
                    return Err(format!("`secrets fetch` has no option `{option}`"));
                }
                name => call.names.push(name.to_owned()),
            }
        }
        if call.adapter.is_empty() {
            return Err("`secrets fetch` needs `--adapter`".to_owned());
        }
        Ok(call)
    }

    /// The names with what `--from` puts before them.
    fn prefixed(&self) -> Vec<String> {
        let from = self.from.as_deref().filter(|from| !from.is_empty());
        let name = |name: &String| match from {
            Some(from) => format!("{from}/{name}"),
            None => name.clone(),
        };
        self.names.iter().map(name).collect()
    }

    fn needs_account(&self) -> Result<&str, String> {
        self.account.as_deref().ok_or_else(|| {
            format!(
                "`secrets fetch --adapter {}` needs `--account`",
                self.adapter
            )
        })
    }
}

/// Fetches secrets; the words are what stands behind `secrets fetch`.
///
/// Errors name the password manager and never a secret.
pub(super) fn fetch(words: &[&str], run: Run<'_>) -> Result<String, String> {
    let call = Call::parse(words)?;
    let found = match call.adapter.as_str() {
        "1password" | "one_password" => one_password(&call, run)?,
        "aws_secrets_manager" => aws(&call, run)?,
        "doppler" => doppler(&call, run)?,
        "gcp" | "gcp_secret_manager" => gcp(&call, run)?,
        "test" => reversed(&call)?,
        other if REFUSED.contains(&other) => {
            return Err(format!(
                "`secrets fetch` does not know `{other}` yet; call the password manager's own program in `$(…)`"
            ));
        }
        other => return Err(format!("Unknown secrets adapter: {other}")),
    };
    Ok(Value::Object(found).to_string())
}

fn json(text: &str, program: &str) -> Result<Value, String> {
    // The text holds secrets, so an error must not show it.
    serde_json::from_str(text).map_err(|_| format!("`{program}` did not answer with JSON"))
}

/// Kamal's adapter for tests: every value is its name from back to front.
fn reversed(call: &Call) -> Result<Map<String, Value>, String> {
    call.needs_account()?;
    let names = call.prefixed();
    let value = |name: &String| Value::from(name.chars().rev().collect::<String>());
    Ok(names
        .iter()
        .map(|name| (name.clone(), value(name)))
        .collect())
}

/// Source: `op item get --help`; a field's `reference` is `op://vault/item/field`.
fn one_password(call: &Call, run: Run<'_>) -> Result<Map<String, Value>, String> {
    let account = call.needs_account()?;
    run("op", &["account", "get", "--account", account]).map_err(|_| {
        format!("`op` is not signed in to account `{account}`: run `op signin --account {account}` first")
    })?;
    let mut found = Map::new();
    for (vault, item, fields) in items(&call.prefixed())? {
        let labels: Vec<String> = fields
            .iter()
            .map(|field| format!("label={field}"))
            .collect();
        let labels = labels.join(",");
        let mut arguments = vec!["item", "get", &item, "--vault", &vault, "--format", "json"];
        arguments.extend(["--account", account, "--fields", &labels]);
        let answer = run("op", &arguments)
            .map_err(|end| format!("`op` could not get `{item}` of vault `{vault}`: {end}"))?;
        let answer = json(&answer, "op")?;
        let one = std::slice::from_ref(&answer);
        for field in answer.as_array().map_or(one, Vec::as_slice) {
            let text = |key: &str| field.get(key).and_then(Value::as_str);
            let (Some(reference), Some(value)) = (text("reference"), text("value")) else {
                return Err(format!("`op` gave a field of `{item}` without value"));
            };
            let name = reference.strip_prefix("op://").unwrap_or(reference);
            let name = name.strip_suffix("/password").unwrap_or(name);
            found.insert(name.to_owned(), value.into());
        }
    }
    Ok(found)
}

/// Sorts `vault/item[/section]/field` by vault and item.
fn items(names: &[String]) -> Result<Vec<(String, String, Vec<String>)>, String> {
    let mut items: Vec<(String, String, Vec<String>)> = Vec::new();
    for name in names {
        let name = name.strip_prefix("op://").unwrap_or(name);
        let mut parts = name.splitn(3, '/');
        let (Some(vault), Some(item)) = (parts.next(), parts.next()) else {
            return Err(format!("`{name}` is not VAULT/ITEM/FIELD"));
        };
        let field = parts.next().unwrap_or("password").replace('/', ".");
        let known = items
            .iter_mut()
            .find(|(known, of, _)| known == vault && of == item);
        match known {
            Some((.., fields)) => fields.push(field),
            None => items.push((vault.to_owned(), item.to_owned(), vec![field])),
        }
    }
    Ok(items)
}

/// Source: `aws secretsmanager batch-get-secret-value help`.
fn aws(call: &Call, run: Run<'_>) -> Result<Map<String, Value>, String> {
    let names = call.prefixed();
    let mut arguments = vec![
        "secretsmanager",
        "batch-get-secret-value",
        "--secret-id-list",
    ];
    arguments.extend(names.iter().map(String::as_str));
    if let Some(profile) = &call.account {
        arguments.extend(["--profile", profile]);
    }
    arguments.extend(["--output", "json"]);
    let answer = run("aws", &arguments)
        .map_err(|end| format!("`aws secretsmanager batch-get-secret-value` failed: {end}"))?;
    let answer = json(&answer, "aws")?;
    let list = |key: &str| answer.get(key).and_then(Value::as_array).cloned();
    if let Some(error) = list("Errors").unwrap_or_default().first() {
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        return Err(format!("`aws`: {}: {}", text("SecretId"), text("Message")));
    }
    let mut found = Map::new();
    for secret in list("SecretValues").unwrap_or_default() {
        let text = |key: &str| secret.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, value) = (text("Name"), text("SecretString"));
        match serde_json::from_str::<Value>(value) {
            Ok(Value::Object(pairs)) => {
                for (key, value) in pairs {
                    found.insert(format!("{name}/{key}"), value);
                }
            }
            _ => drop(found.insert(name.to_owned(), value.into())),
        }
    }
    Ok(found)
}

/// Source: `doppler secrets get --help`; `--from` is PROJECT/CONFIG.
fn doppler(call: &Call, run: Run<'_>) -> Result<Map<String, Value>, String> {
    let mut arguments = vec!["secrets", "get"];
    arguments.extend(call.names.iter().map(String::as_str));
    arguments.push("--json");
    if let Some(from) = &call.from {
        let (project, config) = from
            .split_once('/')
            .ok_or_else(|| format!("`--from {from}` is not PROJECT/CONFIG"))?;
        arguments.extend(["-p", project, "-c", config]);
    }
    let answer =
        run("doppler", &arguments).map_err(|end| format!("`doppler secrets get` failed: {end}"))?;
    let answer = json(&answer, "doppler")?;
    let mut found = Map::new();
    for (name, secret) in answer.as_object().into_iter().flatten() {
        if let Some(value) = secret.get("computed") {
            found.insert(name.clone(), value.clone());
        }
    }
    Ok(found)
}

/// Source: `gcloud secrets versions access --help`; a name is `[PROJECT/]NAME[/VERSION]`.
fn gcp(call: &Call, run: Run<'_>) -> Result<Map<String, Value>, String> {
    let account = call.needs_account()?;
    let (user, service) = account.split_once('|').unwrap_or((account, ""));
    let mut found = Map::new();
    for name in call.prefixed() {
        let parts: Vec<&str> = name.split('/').collect();
        let (project, secret, version) = match parts.as_slice() {
            [secret] => ("default", *secret, "latest"),
            [project, secret] => (*project, *secret, "latest"),
            [project, secret, version] => (*project, *secret, *version),
            _ => return Err(format!("`{name}` is not [PROJECT/]NAME[/VERSION]")),
        };
        let mut options = vec![format!("--secret={secret}"), "--format=json".to_owned()];
        for (option, value, none) in [
            ("project", project, "default"),
            ("account", user, "default"),
            ("impersonate-service-account", service, ""),
        ] {
            if value != none {
                options.push(format!("--{option}={value}"));
            }
        }
        let mut arguments = vec!["secrets", "versions", "access", version];
        arguments.extend(options.iter().map(String::as_str));
        let answer = run("gcloud", &arguments)
            .map_err(|end| format!("`gcloud` could not read secret `{secret}`: {end}"))?;
        let answer = json(&answer, "gcloud")?;
        let data = answer.pointer("/payload/data").and_then(Value::as_str);
        let bytes = data.and_then(|data| {
            let plain = data.replace('-', "+").replace('_', "/");
            general_purpose::STANDARD.decode(plain).ok()
        });
        let value = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let value = value.ok_or_else(|| format!("`gcloud` gave no text for `{secret}`"))?;
        found.insert(format!("{project}/{secret}"), value.into());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches with a program that answers one call, and compares call and result.
    fn check(words: &str, expected_call: &str, answer: &str, expected: &str) {
        let run = |program: &str, arguments: &[&str]| {
            let call = format!("{program} {}", arguments.join(" "));
            match call.as_str() {
                "op account get --account mine" => Ok(String::new()),
                call if call == expected_call => Ok(answer.to_owned()),
                other => Err(format!("not expected: {other}")),
            }
        };
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(fetch(&words, &run).as_deref(), Ok(expected), "{words:?}");
    }

    #[test]
    fn each_password_manager_is_asked_in_its_own_words() {
        check(
            "--adapter 1password --account mine --from Vault/Item TOKEN KEY",
            "op item get Item --vault Vault --format json --account mine --fields label=TOKEN,label=KEY",
            r#"[{"reference":"op://Vault/Item/TOKEN","value":"a"},{"reference":"op://Vault/Item/KEY","value":"b"}]"#,
            r#"{"Vault/Item/TOKEN":"a","Vault/Item/KEY":"b"}"#,
        );
        check(
            "--adapter=aws_secrets_manager --account work one two",
            "aws secretsmanager batch-get-secret-value --secret-id-list one two --profile work --output json",
            r#"{"SecretValues":[{"Name":"one","SecretString":"{\"KEY\":\"a\"}"},{"Name":"two","SecretString":"b"}],"Errors":[]}"#,
            r#"{"one/KEY":"a","two":"b"}"#,
        );
        check(
            "-a doppler --from shop/prd TOKEN",
            "doppler secrets get TOKEN --json -p shop -c prd",
            r#"{"TOKEN":{"computed":"a","raw":"${B}"}}"#,
            r#"{"TOKEN":"a"}"#,
        );
        check(
            "--adapter gcp --account me@x|robot@x shop/TOKEN/3",
            "gcloud secrets versions access 3 --secret=TOKEN --format=json --project=shop --account=me@x --impersonate-service-account=robot@x",
            r#"{"payload":{"data":"Pz8_Pg=="}}"#,
            r#"{"shop/TOKEN":"???>"}"#,
        );
        check(
            "--adapter test --account a --from b abc",
            "",
            "",
            r#"{"b/abc":"cba/b"}"#,
        );
    }

    #[test]
    fn what_is_missing_or_not_there_is_named_and_secrets_are_not() {
        let run = |_: &str, _: &[&str]| Ok("hunter2".to_owned());
        for (words, expected) in [
            ("A", "`secrets fetch` needs `--adapter`"),
            ("--adapter lastpass A", "does not know `lastpass` yet"),
            ("--adapter nothing A", "Unknown secrets adapter: nothing"),
            ("--adapter gcp A", "needs `--account`"),
            ("--adapter doppler A", "`doppler` did not answer with JSON"),
            ("--adapter test --acount a A", "no option `--acount`"),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            let error = fetch(&words, &run).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
