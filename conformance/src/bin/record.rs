//! The recorder: runs every form on the GPU and writes the answers down; or compares the PTX machine with them.
//!
//! - `record gpu FOLDER [--raw]`: one `.rec` file a group, and with `--raw` all answers in `.raw` files for debugging
//! - `record machine FOLDER`: the same with the machine's own answers, to try the recorder without a GPU
//! - `record report [FOLDER]`: compares, and writes `REPORT.md` beside the crate
//! - `record ptx FOLDER`: all forms as modules, for an assembler to check
//! - `record diff FOLDER [WORD]`: as the test, but against `.raw` files, printing every difference

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use factory_conformance::{
    Entry, Form, POISON, Recording, all_forms, answers, compare, differences, group_names, report,
};
use factory_search::gpu::{Gpu, Packed};

/// Answers longer than this are not written in full.
const RAW_LIMIT: usize = 24 << 10;

/// The crate's own folder of recordings.
fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded")
}

fn on_gpu(gpu: &Gpu, form: &Form) -> Result<Vec<u8>, String> {
    let mut buffers =
        [form.inputs.clone(), vec![POISON; form.output_bytes], vec![0; form.scratch_bytes.max(16)]];
    let launch = Packed {
        ptx: &form.ptx,
        entry: "form",
        grid: [form.grid, 1, 1],
        block: [form.block, 1, 1],
        cluster: [form.cluster, 1, 1],
        shared_bytes: form.shared_bytes,
    };
    gpu.run_packed(&launch, &mut buffers, |addresses| {
        Ok(addresses.iter().map(|address| address.to_le_bytes().to_vec()).collect())
    })?;
    let [_, answers, _] = buffers;
    Ok(answers)
}

fn record(folder: &Path, raw: bool) -> Result<(), Box<dyn Error>> {
    let mut gpu = Gpu::open(0)?;
    let date = std::env::var("RECORD_DATE").unwrap_or_default();
    let (major, minor) = gpu.capability();
    let origin = format!("{} (sm_{major}{minor}), driver {}, {date}", gpu.name(), gpu.driver());
    write(folder, raw, &origin, |form| {
        let answers = on_gpu(&gpu, form);
        // A fault loses the context; the next form gets a new one.
        if answers.as_ref().is_err_and(|why| !why.starts_with("cuModuleLoad")) {
            gpu.reopen()?;
        }
        answers
    })
}

/// Writes the answers of every form.
fn write(
    folder: &Path,
    raw: bool,
    origin: &str,
    mut answer: impl FnMut(&Form) -> Result<Vec<u8>, String>,
) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    println!("{origin}");
    for group in group_names() {
        let mut recording = Recording { origin: origin.to_owned(), entries: BTreeMap::new() };
        let mut all = Recording { origin: origin.to_owned(), entries: BTreeMap::new() };
        for form in all_forms(group) {
            match answer(&form) {
                Ok(answers) => {
                    recording.entries.insert(form.name.clone(), Entry::new(&form, &answers));
                    if raw && (answers.len() <= RAW_LIMIT || form.name.contains(".oob")) {
                        let entry = Entry { digest: form.digest(), raw: answers, hashes: Vec::new() };
                        all.entries.insert(form.name.clone(), entry);
                    }
                }
                Err(why) => println!("{}: {why}", form.name),
            }
        }
        println!("{group}: {} forms", recording.entries.len());
        std::fs::write(folder.join(format!("{group}.rec")), recording.write())?;
        if raw {
            std::fs::write(folder.join(format!("{group}.raw")), all.write())?;
        }
    }
    Ok(())
}

fn load(folder: &Path, extension: &str) -> Result<BTreeMap<String, Recording>, Box<dyn Error>> {
    let mut recordings = BTreeMap::new();
    for group in group_names() {
        let path = folder.join(format!("{group}.{extension}"));
        if path.exists() {
            let recording = Recording::read(&std::fs::read(&path)?)
                .map_err(|error| format!("`{}`: {error}", path.display()))?;
            recordings.insert(group.to_owned(), recording);
        }
    }
    Ok(recordings)
}

/// Every difference between the machine and raw recordings.
fn diff(folder: &Path, word: &str, shown: usize) -> Result<(), Box<dyn Error>> {
    for (group, recording) in load(folder, "raw")? {
        for form in all_forms(&group).iter().filter(|form| form.name.contains(word)) {
            let Some(entry) = recording.entries.get(&form.name) else { continue };
            match answers(form) {
                Ok(machine) => match compare(form, &machine, entry) {
                    factory_conformance::Verdict::Agree(_) => {}
                    verdict => {
                        println!("{}: {verdict:?}", form.name);
                        for text in differences(form, &machine, &entry.raw).iter().take(shown) {
                            println!("    {text}");
                        }
                    }
                },
                Err(trouble) => println!("{}: {trouble}", form.name),
            }
        }
    }
    Ok(())
}

fn ptx(folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for group in group_names() {
        let forms = all_forms(group);
        let mut text = ".version 9.0\n.target sm_90a\n.address_size 64\n\n".to_owned();
        for (index, form) in forms.iter().enumerate() {
            text.push_str(&format!("// {}\n{}\n", form.name, form.entry_named(&format!("form{index}"))));
        }
        std::fs::write(folder.join(format!("{group}.ptx")), text)?;
        println!("{group}: {} forms", forms.len());
    }
    Ok(())
}

/// How many forms the machine can run at all.
fn coverage() {
    for group in group_names() {
        let forms = all_forms(group);
        let mut missing = 0;
        for form in &forms {
            if let Err(trouble) = answers(form) {
                missing += 1;
                println!("{}: {trouble}", form.name);
            }
        }
        println!("{group}: {} of {} run", forms.len() - missing, forms.len());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["gpu", folder] => record(Path::new(folder), false),
        ["gpu", folder, "--raw"] => record(Path::new(folder), true),
        // To see how large a recording becomes, and that the comparison finds nothing where nothing is.
        ["machine", folder] => write(Path::new(folder), true, "the PTX machine", |form| {
            answers(form).map_err(|trouble| trouble.to_string())
        }),
        ["ptx", folder] => ptx(Path::new(folder)),
        ["diff", folder] => diff(Path::new(folder), "", 0),
        ["diff", folder, word] => diff(Path::new(folder), word, 40),
        ["coverage"] => {
            coverage();
            Ok(())
        }
        ["report", folder @ ..] => {
            let folder = folder.first().map_or_else(recorded, PathBuf::from);
            let summary = report(&load(&folder, "rec")?);
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("REPORT.md"), &summary.text)?;
            print!("{}", summary.text);
            Ok(())
        }
        _ => Err("`record gpu FOLDER [--raw]`, `record machine FOLDER`, `record report [FOLDER]`, `record ptx FOLDER`, \
                  `record diff FOLDER [WORD]` or `record coverage`"
            .into()),
    }
}
