//! E-mail by a server that wants TLS, with a certificate of an authority that the machine trusts or not.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::server::Server;

const PASSWORD: &str = "correct horse";

/// `\0runner\0correct horse`, as `AUTH PLAIN` sends it.
const PLAIN: &str = "AHJ1bm5lcgBjb3JyZWN0IGhvcnNl";

/// An authority and a certificate of it for one name.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn of(name: &str) -> Self {
        let certificate = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let extension = format!("subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n");
        fs::write(certificate.file("extension"), extension).unwrap();
        for line in [
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -sha256 -extfile extension -out server.crt",
        ] {
            let made = Command::new("openssl")
                .args(line.split(' '))
                .current_dir(certificate.folder.path())
                .output()
                .unwrap();
            assert!(made.status.success(), "{line}: {made:?}");
        }
        certificate
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the authority is that must be trusted.
    fn authority(&self) -> PathBuf {
        self.file("ca.crt")
    }

    fn config(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(self.file("server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap())
    }
}

/// How a server of e-mail begins to encrypt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    Wrapped,
    StartTls,
    /// Not at all, as somebody in between would have it.
    Stripped,
}

#[derive(Default)]
struct Heard {
    /// Lines that came without TLS.
    plain: Vec<String>,
    /// Lines that came with it.
    safe: Vec<String>,
}

/// A server of e-mail that knows one user.
struct Post {
    port: u16,
    heard: Arc<Mutex<Heard>>,
}

impl Post {
    fn start(security: Security, certificate: &Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let post = Self {
            port: listener.local_addr().unwrap().port(),
            heard: Arc::default(),
        };
        let (heard, config) = (Arc::clone(&post.heard), certificate.config());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, config) = (Arc::clone(&heard), Arc::clone(&config));
                // Who does not trust the certificate breaks it off.
                std::thread::spawn(move || drop(serve(stream, security, &config, &heard)));
            }
        });
        post
    }

    fn plain(&self) -> String {
        self.heard.lock().unwrap().plain.join("\n")
    }

    fn safe(&self) -> String {
        self.heard.lock().unwrap().safe.join("\n")
    }
}

fn serve(
    mut stream: TcpStream,
    security: Security,
    config: &Arc<ServerConfig>,
    heard: &Mutex<Heard>,
) -> std::io::Result<()> {
    if security != Security::Wrapped {
        let offer = (security == Security::StartTls).then_some("STARTTLS");
        stream.write_all(b"220 post\r\n")?;
        let take = |line: &str| heard.lock().unwrap().plain.push(line.to_owned());
        if !converse(&mut stream, offer, take)? {
            return Ok(());
        }
    }
    let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    if security == Security::Wrapped {
        stream.write_all(b"220 post\r\n")?;
    }
    let take = |line: &str| heard.lock().unwrap().safe.push(line.to_owned());
    converse(&mut stream, Some("AUTH PLAIN"), take).map(drop)
}

/// Speaks with a client; tells whether it wants TLS from here on.
fn converse(
    stream: &mut (impl Read + Write),
    offer: Option<&str>,
    take: impl Fn(&str),
) -> std::io::Result<bool> {
    let mut reader = BufReader::new(stream);
    let mut is_letter = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end();
        take(line);
        let verb = line.split(' ').next().unwrap_or_default().to_uppercase();
        let answer = match verb.as_str() {
            _ if is_letter && line != "." => continue,
            _ if is_letter => {
                is_letter = false;
                "250 taken\r\n".to_owned()
            }
            "EHLO" => match offer {
                Some(offer) => format!("250-post\r\n250 {offer}\r\n"),
                None => "250 post\r\n".to_owned(),
            },
            "STARTTLS" => {
                reader.get_mut().write_all(b"220 go on\r\n")?;
                return Ok(true);
            }
            "AUTH" if line.ends_with(PLAIN) => "235 welcome\r\n".to_owned(),
            "AUTH" => "535 who are you\r\n".to_owned(),
            "DATA" => {
                is_letter = true;
                "354 go on\r\n".to_owned()
            }
            "QUIT" => {
                reader.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(false);
            }
            _ => "250 ok\r\n".to_owned(),
        };
        reader.get_mut().write_all(answer.as_bytes())?;
        reader.get_mut().flush()?;
    }
}

/// Has a server's test notice told by `post`, with these certificates trusted.
fn tell(post: &Post, (tls, password): (&str, &str), trusted: &Path) -> Output {
    let server = Server::new(&[]).configure(&format!(
        "\n[[notify]]\nname = \"mail\"\nemail = {{ server = \"localhost:{}\", tls = \"{tls}\", user = \"runner\", \
         password = {{ file = \"password\" }}, from = \"runner@example.com\", to = [\"team@example.com\"] }}\n",
        post.port
    ));
    server.write("password", password);
    let mut command = server.command(&["notify", "test", "mail"]);
    command
        .env("SSL_CERT_FILE", trusted)
        .env_remove("SSL_CERT_DIR");
    command.output().unwrap()
}

#[test]
fn a_letter_goes_by_tls_from_the_first_byte_or_from_starttls_on() {
    let certificate = Certificate::of("localhost");
    for (security, tls) in [(Security::Wrapped, "tls"), (Security::StartTls, "starttls")] {
        let post = Post::start(security, &certificate);
        let output = tell(&post, (tls, PASSWORD), &certificate.authority());
        assert!(output.status.success(), "{tls}: {output:?}");
        let safe = post.safe();
        for part in [
            PLAIN,
            "MAIL FROM:<runner@example.com>",
            "RCPT TO:<team@example.com>",
            "Subject: Test: owner/name (a workflow) on main",
        ] {
            assert!(safe.contains(part), "{tls}: {part}: {safe}");
        }
        let plain = post.plain();
        assert!(
            !plain.contains("MAIL") && !plain.contains("AUTH"),
            "{plain}"
        );
        assert_eq!(plain.contains("STARTTLS"), security == Security::StartTls);
    }
}

#[test]
fn nothing_is_sent_to_who_is_not_trusted_or_takes_the_encryption_away() {
    let certificate = Certificate::of("localhost");
    let (stranger, other) = (
        Certificate::of("localhost"),
        Certificate::of("mail.example.com"),
    );
    for (security, tls, certificate, trusted, why) in [
        (
            Security::Wrapped,
            "tls",
            &certificate,
            &stranger,
            "certificate",
        ),
        (
            Security::StartTls,
            "starttls",
            &certificate,
            &stranger,
            "certificate",
        ),
        (Security::Wrapped, "tls", &other, &other, "certificate"),
        (
            Security::Stripped,
            "starttls",
            &certificate,
            &certificate,
            "STARTTLS",
        ),
    ] {
        let post = Post::start(security, certificate);
        let output = tell(&post, (tls, PASSWORD), &trusted.authority());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(
            said.contains("mail: not told: ") && said.contains(why),
            "{said}"
        );
        for heard in [post.plain(), post.safe()] {
            let is_told = ["AUTH", "MAIL", "DATA"]
                .iter()
                .any(|verb| heard.contains(verb));
            assert!(!is_told, "{heard}");
        }
    }
}

#[test]
fn a_password_that_the_server_does_not_know_is_said() {
    let certificate = Certificate::of("localhost");
    let post = Post::start(Security::Wrapped, &certificate);
    let wrong = ("tls", "wrong battery");
    let output = tell(&post, wrong, &certificate.authority());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("535") && !said.contains("battery"), "{said}");
    assert!(!post.safe().contains("MAIL"), "{}", post.safe());
}
