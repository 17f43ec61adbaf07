//! Files that are damaged by chance: read without a crash, refused with a reason.

use crate::diagnostic::has_errors;
use crate::workflow::{parse, parse_action};

const SEEDS: [&str; 3] = [
    "on: {push: {branches: [a]}, schedule: [{cron: '0 0 * * *'}]}\njobs:\n  a:\n    runs-on: x\n    \
     needs: b\n    if: ${{ always() }}\n    strategy: {matrix: {o: [1]}}\n    steps:\n    - uses: a/b@c\n      \
     with: {x: '${{ insert }}'}\n    - run: |\n        echo ${{ matrix.o }}\n  b: {uses: ./.github/workflows/x.yml}\n",
    "on: workflow_call\nenv: &e {A: '${{ github.sha }}'}\njobs: {j: {runs-on: [a], env: *e, services: {s: {image: i}}}}\n",
    "name: n\nruns:\n  using: composite\n  steps:\n  - {run: '${{ inputs.a }}', shell: bash, if: 'a'}\n",
];

#[test]
fn damaged_files_never_crash_the_readers() {
    let mut state: u64 = 0x2545_F491_4F6C_DD1D;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let alphabet: Vec<char> = "\n :-[]{}&*!|>'\"$~aé,}".chars().collect();
    for _ in 0..6000 {
        let mut text: Vec<char> = SEEDS[random(SEEDS.len())].chars().collect();
        for _ in 0..1 + random(5) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = alphabet[random(alphabet.len())],
                1 => text.insert(at, alphabet[random(alphabet.len())]),
                _ => {
                    text.remove(at);
                }
            }
        }
        let text: String = text.into_iter().collect();
        let (workflow, found) = parse(&text);
        assert_eq!(workflow.is_none(), has_errors(&found), "{text}");
        for problem in &found {
            assert!(problem.span.bytes.end <= text.len(), "{text}\n{problem:?}");
        }
        let (manifest, found) = parse_action(&text);
        assert_eq!(manifest.is_none(), has_errors(&found), "{text}");
    }
}
