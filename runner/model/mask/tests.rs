//! Tests of masking: rules by table, and random streams against a plain search.

use std::fmt::Write as _;

use super::*;

fn masker(secrets: &[&str]) -> Masker {
    let masker = Masker::new();
    for secret in secrets {
        assert!(masker.add(secret), "{secret:?}");
    }
    masker
}

/// What masking means, in the plainest words: mark every byte of every occurrence.
fn plainly_masked(masker: &Masker, bytes: &[u8]) -> Vec<u8> {
    let patterns = masker.lock().patterns.clone();
    // A mark before each byte says that it continues the mask of the byte before it.
    let mut secret = vec![false; bytes.len()];
    let mut joined = vec![false; bytes.len() + 1];
    for pattern in &patterns {
        let pattern = pattern.as_bytes();
        for start in 0..bytes.len() {
            if bytes[start..].starts_with(pattern) {
                secret[start..start + pattern.len()].fill(true);
                joined[start..=start + pattern.len()].fill(true);
            }
        }
    }
    let mut text = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        if !secret[index] {
            text.push(*byte);
        } else if index == 0 || !secret[index - 1] || !joined[index] {
            text.extend_from_slice(b"***");
        }
    }
    text
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn text(&mut self, alphabet: &[&str], longest: usize) -> String {
        let length = 1 + self.below(longest);
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}

fn streamed(masker: &Masker, bytes: &[u8], random: &mut Random, largest: usize) -> Vec<u8> {
    let mut stream = masker.stream();
    let mut out = MaskedBytes::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((1 + random.below(largest)).min(rest.len()));
        stream.push(chunk, &mut out);
        rest = after;
    }
    stream.flush(&mut out);
    out.into_vec()
}

#[test]
fn a_stream_in_any_chunks_equals_the_mask_of_the_whole() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let alphabets: [&[&str]; 4] = [
        &["a", "b"],
        &["a", "b", "\n", "\r\n", " "],
        &["x", "y", "&", "+", "'", "\"", "ü"],
        &["s", "e", "c", "r", "t", "1", "\\", "$"],
    ];
    for round in 0..3000 {
        let alphabet = alphabets[round % alphabets.len()];
        let masker = Masker::new();
        for _ in 0..1 + random.below(4) {
            masker.add(&random.text(alphabet, 7));
        }
        let mut text = random.text(alphabet, 120).into_bytes();
        let patterns: Vec<String> = masker.lock().patterns.iter().cloned().collect();
        for _ in 0..random.below(4) {
            if !patterns.is_empty() {
                let at = random.below(text.len() + 1);
                let pattern = patterns[random.below(patterns.len())].clone();
                text.splice(at..at, pattern.into_bytes());
            }
        }
        let expected = plainly_masked(&masker, &text);
        for largest in [1, 2, 5, 40, 1000] {
            let got = streamed(&masker, &text, &mut random, largest);
            assert_eq!(
                String::from_utf8_lossy(&got),
                String::from_utf8_lossy(&expected),
                "round {round}, chunks up to {largest}, patterns {patterns:?}, text {:?}",
                String::from_utf8_lossy(&text),
            );
        }
        assert_eq!(masker.mask_bytes(&text).into_vec(), expected);
    }
}

#[test]
fn a_large_secret_is_found_by_the_compact_automaton_too() {
    let mut key = String::new();
    for line in 0..200 {
        writeln!(key, "{:064}", u128::from(line * 7_919_u32).pow(5)).unwrap();
    }
    let masker = masker(&[&key]);
    let mut random = Random(7);
    let text = format!("before {key} between {} after", &key[64 * 3..64 * 9]);
    let expected = plainly_masked(&masker, text.as_bytes());
    assert_eq!(
        streamed(&masker, text.as_bytes(), &mut random, 300),
        expected
    );
    assert!(
        String::from_utf8(expected)
            .unwrap()
            .starts_with("before ***")
    );
}

#[test]
fn secrets_become_one_mask() {
    for (secrets, text, expected) in [
        (vec!["secret"], "a secret b", "a *** b"),
        (vec!["abcd", "cdef"], "xabcdefx", "x***x"),
        (vec!["abc", "def"], "abcdef", "***"),
        (vec!["abc"], "abcabc abc", "*** ***"),
        (vec!["bcd", "abcde"], "abcdx abcde", "a***x ***"),
        (vec!["a\nb c\n"], "b c", "***"),
        (vec!["first\nsecond"], "first\nsecond", "***"),
        (vec!["first\nsecond"], "first\r\nsecond", "***\r\n***"),
        (vec!["first\r\nsecond"], "first\nsecond", "***\n***"),
        (vec!["  padded line\nmore"], "padded line", "***"),
        (vec!["pässwörd"], "ä pässwörd ö", "ä *** ö"),
        (vec!["p\"q"], "{\"x\":\"p\\\"q\"}", "{\"x\":\"***\"}"),
        (vec!["xyz"], "no such thing", "no such thing"),
        (vec!["***"], "*****", "***"),
    ] {
        assert_eq!(
            masker(&secrets).mask(text).as_str(),
            expected,
            "{secrets:?} in {text:?}"
        );
    }
}

#[test]
fn base64_is_masked_wherever_the_secret_begins_and_ends_in_it() {
    use base64::Engine as _;
    let masker = masker(&["correct horse battery"]);
    for before in ["", "a", "ab", "abc", "user:"] {
        for after in ["", "\n", "12", "@host"] {
            let plain = format!("{before}correct horse battery{after}");
            let encoded = base64::engine::general_purpose::STANDARD.encode(&plain);
            let masked = masker.mask(&encoded);
            assert!(masked.as_str().contains("***"), "{plain}: {masked}");
            assert!(
                masked.as_str().len() + 20 < encoded.len(),
                "{plain}: {masked}"
            );
        }
    }
}

#[test]
fn an_empty_value_is_refused() {
    let masker = Masker::new();
    for nothing in ["", " ", "\n", " \r\n\t"] {
        assert!(!masker.add(nothing), "{nothing:?}");
    }
    assert_eq!(masker.mask("a b\nc").as_str(), "a b\nc");
    assert!(masker.add(" x "));
}

#[test]
fn only_what_may_begin_a_secret_is_held_back() {
    let masker = masker(&["password"]);
    let mut stream = masker.stream();
    let mut out = MaskedBytes::default();
    for (chunk, shown, held) in [
        ("hello", "hello", 0),
        (" pass", " ", 4),
        ("age", "passage", 0),
        ("passw", "", 5),
        ("ord", "***", 0),
        ("passpassw", "pass", 5),
        ("", "", 5),
    ] {
        out.clear();
        stream.push(chunk.as_bytes(), &mut out);
        assert_eq!(String::from(out.clone().into_text()), shown, "{chunk}");
        assert_eq!(stream.held(), held, "{chunk}");
    }
    out.clear();
    stream.flush(&mut out);
    assert_eq!(out.as_bytes(), b"passw");
}

#[test]
fn a_secret_added_while_a_stream_runs_counts_at_once() {
    let masker = masker(&["token-one"]);
    let other = masker.clone();
    let mut stream = masker.stream();
    let mut out = MaskedBytes::default();
    stream.push(b"a token-two, token-", &mut out);
    assert_eq!(out.as_bytes(), b"a token-two, ");
    other.add("token-two");
    stream.push(b"two and token-one", &mut out);
    stream.flush(&mut out);
    assert_eq!(out.as_bytes(), b"a token-two, *** and ***");
    assert!(masker.finds_secret_in("x token-two"));
    assert!(!masker.finds_secret_in("x token-three"));
}

#[test]
fn streams_on_other_threads_see_new_secrets() {
    let masker = Masker::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let masker = masker.clone();
            scope.spawn(move || {
                for index in 0..50 {
                    let secret = format!("secret-{thread}-{index}-value");
                    masker.add(&secret);
                    assert_eq!(masker.mask(&format!("<{secret}>")).as_str(), "<***>");
                }
            });
        }
    });
    assert_eq!(masker.mask("secret-3-49-value").as_str(), "***");
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    assert_eq!(masker(&["secret"]).mask_bytes(&all).into_vec(), all);
    assert_eq!(Masker::new().mask_bytes(&all).into_vec(), all);
}

#[test]
fn masked_values_survive_json() {
    let masker = masker(&["hunter2"]);
    let text = masker.format(format_args!("password {} of {}", "hunter2", 7));
    let json = serde_json::to_string(&text).unwrap();
    assert_eq!(json, "\"password *** of 7\"");
    assert_eq!(serde_json::from_str::<Masked>(&json).unwrap(), text);
    for bytes in [&b"plain hunter2\n"[..], &[0xff, 0xfe, b'\n']] {
        let bytes = masker.mask_bytes(bytes);
        let json = serde_json::to_string(&bytes).unwrap();
        assert!(!json.contains("hunter2"));
        assert_eq!(serde_json::from_str::<MaskedBytes>(&json).unwrap(), bytes);
    }
    assert!(!format!("{masker:?}").contains("hunter2"));
}

#[test]
fn whole_lines_can_be_taken_from_the_front() {
    let mut bytes = Masker::new().mask_bytes(b"one\ntwo\nthr");
    assert_eq!(bytes.take_lines().unwrap().as_bytes(), b"one\ntwo\n");
    assert_eq!(bytes.as_bytes(), b"thr");
    assert_eq!(bytes.take_lines(), None);
}

#[test]
fn a_shortened_text_says_so() {
    let text = Masked::from_static("ä234567890");
    assert_eq!(text.shortened(10), text);
    assert_eq!(text.shortened(9).as_str(), "ä23456...");
    assert_eq!(
        Masked::join([&text, &7_u64.into()], ", ").as_str(),
        "ä234567890, 7"
    );
}

/// Prints the speed; run it with optimization: `cargo test --release -p runner-model -- --ignored`.
#[test]
#[ignore = "measures, decides nothing"]
fn speed_of_a_stream() {
    let mut random = Random(3);
    let mut secrets = |count: usize, length: usize| {
        let masker = Masker::new();
        for _ in 0..count {
            let hex = (0..length).map(|_| char::from(b"0123456789abcdef"[random.below(16)]));
            let text: String = hex.collect();
            masker.add(&text.replace("00", "\n"));
        }
        masker
    };
    let line = "2026-11-24T10:00:00Z compiling app v1.2.3 (/home/user/src): 200 OK, id=9f3a\n";
    let data = line.repeat(1024 * 1024 / line.len() * 64);
    let digest = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1\n";
    let digests = digest.repeat(1024 * 1024 / digest.len() * 64);
    for (name, masker) in [
        ("none", Masker::new()),
        ("20 of 36", secrets(20, 36)),
        ("60 of 60", secrets(60, 60)),
        ("4 of 3000", secrets(4, 3000)),
    ] {
        let clock = tick();
        masker.mask("x");
        let built = clock.elapsed();
        for (what, data) in [("lines", &data), ("digests", &digests)] {
            let mut stream = masker.stream();
            let mut out = MaskedBytes::default();
            let clock = tick();
            for chunk in data.as_bytes().chunks(16 * 1024) {
                out.clear();
                stream.push(chunk, &mut out);
            }
            let took = clock.elapsed().as_secs_f64();
            let speed = data.len() as f64 / 1e6 / took;
            println!("{name}: {what} {speed:.0} MB/s, built in {built:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may measure")]
fn tick() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a test may read its cases")]
fn conformance(file: &str) -> Option<serde_json::Value> {
    let root = std::env::var("RUNNER_CONFORMANCE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance").to_owned()
    });
    match std::fs::read_to_string(format!("{root}/{file}")) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            println!("skipped: no `{file}` in `{root}`");
            None
        }
    }
}

#[test]
fn masks_as_the_conformance_table_says() {
    let Some(table) = conformance("tables/masking.json") else {
        return;
    };
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let masker = Masker::new();
        if let Some(secrets) = case["secrets"].as_array() {
            for secret in secrets {
                masker.add(secret.as_str().unwrap());
            }
        }
        if let Some(command) = case["maskCommand"].as_str() {
            let value = command.strip_prefix("::add-mask::").unwrap();
            masker.add(&value.replace("%0D", "\r").replace("%0A", "\n"));
        }
        assert_eq!(
            masker.mask(case["input"].as_str().unwrap()).as_str(),
            case["expected"].as_str().unwrap(),
            "{case}"
        );
    }
    println!("masking: {} cases", cases.len());
}
