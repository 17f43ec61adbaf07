//! Ports and volumes of a container, from Docker's words to what its API takes.

use super::run_options::OptionError;

/// A port of a container on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// The address of the host; all of them without one.
    pub address: Option<String>,
    /// The port of the host; any free one without it.
    pub outside: Option<u16>,
    /// The port in the container.
    pub inside: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl PublishedPort {
    /// Says whether other machines can reach it: Docker's own rules go before a firewall's.
    pub fn is_open_to_all(&self) -> bool {
        match self.address.as_deref() {
            None => true,
            Some(address) => matches!(address, "0.0.0.0" | "::" | "*"),
        }
    }
}

/// Reads `[ADDRESS:][OUTSIDE:]INSIDE[/PROTOCOL]`; a range gives one port for each number.
pub fn published_ports(text: &str) -> Result<Vec<PublishedPort>, OptionError> {
    let wrong = || OptionError::Value {
        option: "publish".to_owned(),
        value: text.to_owned(),
    };
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    if !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err(wrong());
    }
    let (before, inside) = match ports.rsplit_once(':') {
        Some((before, inside)) => (Some(before), inside),
        None => (None, ports),
    };
    let (address, outside) = match before.map(|before| (before, before.rsplit_once(':'))) {
        None => (None, None),
        Some((before, None)) => (None, Some(before)),
        Some((_, Some((address, outside)))) => (Some(address), Some(outside)),
    };
    let inside = port_range(inside).ok_or_else(wrong)?;
    let outside = match outside.filter(|outside| !outside.is_empty()) {
        Some(outside) => Some(port_range(outside).ok_or_else(wrong)?),
        None => None,
    };
    if outside
        .as_ref()
        .is_some_and(|outside| outside.len() != inside.len())
    {
        return Err(wrong());
    }
    let address = address.map(|address| address.trim_matches(['[', ']']));
    let ports = inside
        .into_iter()
        .enumerate()
        .map(|(index, inside)| PublishedPort {
            address: address.map(str::to_owned),
            outside: outside.as_ref().and_then(|ports| ports.get(index).copied()),
            inside,
            protocol: protocol.to_owned(),
        });
    Ok(ports.collect())
}

fn port_range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then(|| (first..=last).collect())
}

/// The volumes of a container as Docker's API takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// `source:target[:options]`, each source a named volume or an absolute path.
    pub binds: Vec<String>,
    /// Folders in the container with a volume without a name.
    pub anonymous: Vec<String>,
}

impl Mounts {
    /// Reads volumes; what begins with `$PWD/` lies in `home`, the SSH user's home on the host.
    pub fn new(volumes: &[String], home: &str) -> Self {
        let mut mounts = Self::default();
        for volume in volumes {
            match volume.strip_prefix("$PWD/") {
                Some(inside) => mounts
                    .binds
                    .push(format!("{}/{inside}", home.trim_end_matches('/'))),
                None if volume.contains(':') => mounts.binds.push(volume.clone()),
                None => mounts.anonymous.push(volume.clone()),
            }
        }
        mounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(
        address: Option<&str>,
        outside: Option<u16>,
        inside: u16,
        protocol: &str,
    ) -> PublishedPort {
        PublishedPort {
            address: address.map(str::to_owned),
            outside,
            inside,
            protocol: protocol.to_owned(),
        }
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        for (text, ports) in [
            ("3002:3000", vec![port(None, Some(3002), 3000, "tcp")]),
            (
                "127.0.0.1:5433:5432",
                vec![port(Some("127.0.0.1"), Some(5433), 5432, "tcp")],
            ),
            (
                "[::1]:80:81/udp",
                vec![port(Some("::1"), Some(80), 81, "udp")],
            ),
            (
                "127.0.0.1::80",
                vec![port(Some("127.0.0.1"), None, 80, "tcp")],
            ),
            ("80", vec![port(None, None, 80, "tcp")]),
            (
                "8000-8001:80-81",
                vec![
                    port(None, Some(8000), 80, "tcp"),
                    port(None, Some(8001), 81, "tcp"),
                ],
            ),
        ] {
            assert_eq!(published_ports(text).unwrap(), ports, "{text}");
        }
        for text in [
            "",
            "a:80",
            "80:",
            "0:80",
            "70000:80",
            "80:80/http",
            "1-3:1-2",
            "5-4:5-4",
        ] {
            assert!(published_ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_an_address_of_the_host_itself_closes_a_port() {
        for (text, is_open) in [
            ("80:80", true),
            ("0.0.0.0:80:80", true),
            ("127.0.0.1:80:80", false),
        ] {
            assert_eq!(
                published_ports(text).unwrap()[0].is_open_to_all(),
                is_open,
                "{text}"
            );
        }
    }

    #[test]
    fn volumes_in_the_home_folder_become_absolute() {
        let volumes = [
            "$PWD/shop-db/data:/data:ro",
            "shop:/x",
            "/etc/y:/y",
            "/anonymous",
        ];
        let mounts = Mounts::new(&volumes.map(str::to_owned), "/home/deploy/");
        assert_eq!(
            mounts.binds,
            ["/home/deploy/shop-db/data:/data:ro", "shop:/x", "/etc/y:/y"]
        );
        assert_eq!(mounts.anonymous, ["/anonymous"]);
    }
}
