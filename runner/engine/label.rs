//! Which labels of `runs-on` this machine serves.

/// Returns the labels that nobody serves here.
///
/// Served are GitHub's labels for Linux (`ubuntu-…`), and those that every self-hosted runner on
/// Linux has: `self-hosted`, `linux` and its architecture.
pub fn unserved(labels: &[String]) -> Vec<&str> {
    labels
        .iter()
        .map(String::as_str)
        .filter(|label| !is_served(label))
        .collect()
}

fn is_served(label: &str) -> bool {
    let label = label.to_lowercase();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    matches!(label.as_str(), "self-hosted" | "linux")
        || label == architecture
        || label.starts_with("ubuntu-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_linux_are_served_and_others_are_not() {
        for (label, expected) in [
            ("ubuntu-latest", true),
            ("Ubuntu-24.04", true),
            ("self-hosted", true),
            ("linux", true),
            ("windows-latest", false),
            ("macos-14", false),
            ("gpu", false),
            ("group:big", false),
        ] {
            assert_eq!(is_served(label), expected, "{label}");
        }
    }
}
