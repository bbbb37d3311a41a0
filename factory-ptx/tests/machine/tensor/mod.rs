//! Matrix instructions against the recorded answers of an H200, bit for bit.

mod inputs;
mod program;

use std::path::Path;

use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};
use inputs::Form;

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tensor")
}

fn forms() -> Vec<Form> {
    let text = std::fs::read_to_string(corpus().join("forms.txt")).expect("the list of forms is there");
    text.lines().filter_map(Form::parse).collect()
}

/// Runs all cases of a form; the words that came out.
fn answers(form: &Form) -> Result<Vec<u32>, String> {
    let module = factory_ptx::parse(&program::program(form)).map_err(|error| error.to_string())?;
    let kernel = Kernel::new(&module, "k").map_err(|error| error.to_string())?;
    let input: Vec<u8> =
        (0..form.cases).flat_map(|case| form.input(case)).flat_map(u32::to_le_bytes).collect();
    let mut output = vec![0; 4 * form.out_words * form.cases];
    {
        let mut memory = Memory::new();
        let mut params = memory.input("in", &input).to_le_bytes().to_vec();
        params.extend(memory.output("out", &mut output).to_le_bytes());
        let launch = Launch::new([form.cases as u32, 1, 1], [form.threads as u32, 1, 1], params);
        let options = Options { threads: 1, ..Options::default() };
        run(&kernel, &launch, &mut memory, &options).map_err(|error| error.to_string())?;
    }
    Ok(output
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")))
        .collect())
}

/// 32 bits that stand for the answer of one case.
fn digest(words: &[u32]) -> u32 {
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ u64::from(*word)).wrapping_mul(0x100_0000_01b3)
    });
    (hash ^ hash >> 32) as u32
}

#[test]
fn matrix_instructions_give_the_answers_of_the_gpu() {
    let recorded = std::fs::read(corpus().join("h200.bin")).expect("the answers are there");
    let mut recorded =
        recorded.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four bytes")));
    let mut failures = Vec::new();
    for form in forms() {
        let expected: Vec<u32> = recorded.by_ref().take(form.cases).collect();
        assert_eq!(expected.len(), form.cases, "answers are missing from `{}` on", form.name);
        match answers(&form) {
            Err(error) => failures.push(format!("{}: {error}", form.name)),
            Ok(words) => {
                let wrong: Vec<usize> = words
                    .chunks_exact(form.out_words)
                    .zip(&expected)
                    .enumerate()
                    .filter(|(_, (words, expected))| digest(words) != **expected)
                    .map(|(case, _)| case)
                    .collect();
                if !wrong.is_empty() {
                    failures.push(format!("{}: cases {wrong:?} of {} differ", form.name, form.cases));
                }
            }
        }
    }
    assert!(recorded.next().is_none(), "more answers than forms");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
