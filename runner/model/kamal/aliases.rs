//! `aliases:`: short names of command lines.

use indexmap::IndexMap;

use super::fields::Fields;

/// The commands that an alias may not hide.
const COMMANDS: [&str; 21] = [
    "accessory",
    "app",
    "audit",
    "build",
    "config",
    "deploy",
    "details",
    "docs",
    "help",
    "init",
    "lock",
    "proxy",
    "prune",
    "redeploy",
    "registry",
    "remove",
    "rollback",
    "secrets",
    "server",
    "setup",
    "version",
];

/// Reads the aliases and checks their names.
pub(super) fn read(root: &Fields<'_>) -> IndexMap<String, String> {
    let aliases = root.texts("aliases").unwrap_or_default();
    let pairs = root
        .setting
        .get("aliases")
        .map(super::setting::Setting::pairs);
    for pair in pairs.unwrap_or_default() {
        let name = &pair.key;
        let is_plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        let problem = if name.is_empty() || !name.bytes().all(is_plain) {
            format!(
                "Invalid alias name: '{name}'. Must only contain lowercase letters, \
                 alphanumeric, hyphens and underscores."
            )
        } else if COMMANDS.contains(&name.as_str()) {
            format!("Alias '{name}' conflicts with a built-in command.")
        } else {
            continue;
        };
        let message = format!("aliases/{name}: {problem}");
        root.found.error("invalid-alias", &pair.key_place, message);
    }
    aliases
}
