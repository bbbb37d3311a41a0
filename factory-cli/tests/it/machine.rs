//! `run`, `sanitize` and `profile` on PTX files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// `y[i] = a * x[i]` for `i <= n`: one too many.
const SCALE: &str = r#".version 8.0
.target sm_90
.address_size 64
.visible .entry scale(.param .u64 x, .param .u64 y, .param .f32 a, .param .u32 n)
{
    .reg .pred %p<2>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    .reg .f32 %f<4>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    ld.param.f32 %f1, [a];
    ld.param.u32 %r1, [n];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.gt.u32 %p1, %r5, %r1;
    @%p1 bra done;
    mul.wide.u32 %rd3, %r5, 4;
    add.s64 %rd4, %rd1, %rd3;
    .loc 1 5 9
    ld.global.f32 %f2, [%rd4];
    mul.f32 %f3, %f1, %f2;
    add.s64 %rd5, %rd2, %rd3;
    .loc 1 6 5
    st.global.f32 [%rd5], %f3;
done:
    ret;
}
.file 1 "scale.cu"
"#;

const SOURCE: &str = "__global__ void scale(const float* x, float* y, float a, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i > n) return;
    float v =
        a * x[i];
    y[i] = v;
}
";

/// Every thread exchanges its number with what is at `x[0]`: the last one to come depends on the order.
const LAST: &str = ".version 8.0
.target sm_90
.address_size 64
.visible .entry last(.param .u64 x)
.reqntid 32
{
    .reg .b32 %r<3>; .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [x];
    mov.u32 %r1, %ctaid.x;
    atom.global.exch.b32 %r2, [%rd1], %r1;
    ret;
}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
        fs::write(folder.path().join("scale.ptx"), SCALE).expect("a file");
        fs::write(folder.path().join("scale.cu"), SOURCE).expect("a file");
        fs::write(folder.path().join("last.ptx"), LAST).expect("a file");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-factory"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KERNEL_FACTORY")) {
            command.env_remove(name);
        }
        command.current_dir(self.path()).args(line.split_whitespace()).output().expect("the binary starts")
    }

    /// Exit status, standard output, standard error.
    fn said(&self, line: &str) -> (i32, String, String) {
        let output = self.run(line);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn json(&self, line: &str) -> (i32, serde_json::Value) {
        let (code, out, err) = self.said(&format!("{line} --json"));
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
    }
}

const RIGHT: &str = "--block 64 --arg in:iota:f32[64] --arg out:y.npy:f32[64] --arg f32:2.5 --arg u32:63";
const WRONG: &str =
    "--grid 2 --block 64 --arg in:iota:f32[64] --arg out:y.npy:f32[64] --arg f32:2.5 --arg u32:64";

#[test]
fn results_go_through_npy_files() {
    let folder = Folder::new();
    let (code, out, err) = folder.said(&format!("run scale.ptx {RIGHT}"));
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("no fault"), "{out}");
    let bytes = fs::read(folder.path().join("y.npy")).expect("the result was written");
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes.len() == 128 + 256, "{}", bytes.len());
    // What was written is read again, and printed.
    let (code, out, _) = folder.said(
        "run scale.ptx --block 64 --arg in:y.npy --arg out:-:f32[64] --arg f32:0x3f000000 --arg u32:63",
    );
    assert_eq!(code, 0);
    assert!(out.contains("y = 0 1.25 2.5 3.75"), "{out}");
}

#[test]
fn a_fault_ends_with_1_and_shows_both_sources() {
    let folder = Folder::new();
    let (code, out, err) = folder.said(&format!("run scale.ptx {WRONG}"));
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    for part in [
        "out_of_bounds",
        "scale.ptx:23:5",
        "ld.global.f32 %f2, [%rd4];",
        "─────",
        "thread (0, 0, 0) of block (1, 0, 0)",
        "from scale.cu:5",
        "a * x[i];",
    ] {
        assert!(err.contains(part), "`{part}` is missing:\n{err}");
    }
    assert!(!folder.path().join("y.npy").exists());
    let (code, facts) = folder.json(&format!("run scale.ptx {WRONG}"));
    assert_eq!(code, 1);
    assert_eq!(facts["fault"]["kind"], "out_of_bounds");
    assert_eq!(facts["fault"]["line"], 23);
    assert_eq!(facts["fault"]["source"]["line"], 5);
}

#[test]
fn what_cannot_be_run_ends_with_2() {
    let folder = Folder::new();
    fs::write(folder.path().join("odd.ptx"), SCALE.replace("mul.f32 %f3", "tex.1d.v4.f32.s32 %f3"))
        .expect("a file");
    fs::write(folder.path().join("bad.npy"), "no array").expect("a file");
    for (line, message) in [
        ("run nowhere.ptx --block 32", "could not read"),
        ("run odd.ptx --block 64", "odd.ptx"),
        ("run scale.ptx --block 64 --arg u32:1", "takes 4 parameters"),
        ("run scale.ptx --block 64 --arg in:bad.npy --arg null --arg f32:1 --arg u32:1", ".npy file"),
        ("run scale.ptx --block 64 --arg null --arg null --arg f64:1 --arg u32:1", "has 4 bytes"),
        ("run scale.ptx --entry other --block 64", "its entries are scale"),
        ("run scale.ptx --arg null --arg null --arg f32:1 --arg u32:1", "--block 128"),
        ("run scale.ptx --block 4096 --arg null --arg null --arg f32:1 --arg u32:1", "1 to 1024"),
        ("run scale.ptx --block nine", "is no number"),
        ("sanitize scale.ptx --block 64 --arg q8:1", "is not known"),
        ("profile scale.ptx --block 64", "takes 4 parameters"),
    ] {
        let (code, out, err) = folder.said(line);
        assert_eq!(code, 2, "{line}: {out}{err}");
        assert!(err.contains(message) && !err.contains("panicked"), "{line}: {err}");
    }
}

#[test]
fn an_endless_loop_ends_with_its_budget() {
    let folder = Folder::new();
    let text = LAST.replace("ret;", "again: bra again;\nret;");
    fs::write(folder.path().join("loop.ptx"), text).expect("a file");
    let (code, _, err) = folder.said("run loop.ptx --arg scratch:4 --checks fast --budget 10000");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("budget_exceeded"), "{err}");
}

#[test]
fn an_order_that_shows_is_reported() {
    let folder = Folder::new();
    let (code, facts) = folder.json("sanitize last.ptx --grid 5 --arg inout:zeros:u32[1]");
    assert_eq!(code, 1);
    assert_eq!(facts["status"], "order_dependent");
    assert_eq!(facts["seeds"].as_array().map(Vec::len), Some(8));
    assert_eq!(facts["differences"][0]["parameter"], "x");
    assert_eq!(facts["differences"][0]["index"][0], 0);
    let (code, out, _) = folder.said("sanitize last.ptx --grid 5 --arg inout:zeros:u32[1] --seeds 4");
    assert_eq!(code, 1);
    assert!(out.contains("order-dependent: `x[0]`"), "{out}");
    let (code, facts) = folder.json(&format!("sanitize scale.ptx {RIGHT}"));
    assert_eq!((code, &facts["status"]), (0, &"clean".into()));
    let (code, facts) = folder.json(&format!("sanitize scale.ptx {WRONG}"));
    assert_eq!((code, &facts["status"]), (1, &"faults".into()));
    assert_eq!(facts["faults"][0]["seeds"].as_array().map(Vec::len), Some(8));
}

#[test]
fn a_profile_counts_by_line_and_names_the_roof() {
    let folder = Folder::new();
    let (code, facts) = folder.json(&format!("profile scale.ptx --ptxas off {RIGHT}"));
    assert_eq!(code, 0);
    let launch = &facts["launches"][0];
    assert_eq!(launch["totals"]["global_load_bytes"], 256.0);
    assert_eq!(launch["totals"]["sectors_requested"], 16.0);
    assert_eq!(launch["totals"]["launch_bytes"], 512.0);
    assert_eq!(launch["targets"].as_array().map(Vec::len), Some(3));
    assert_eq!(launch["targets"][1]["blocks"], 32);
    let sources = launch["sources"].as_array().expect("a list");
    assert!(sources.iter().any(|line| line["line"] == 6 && line["text"] == "y[i] = v;"), "{sources:?}");
    let (code, out, _) = folder.said(&format!("profile scale.ptx --ptxas off {RIGHT}"));
    assert_eq!(code, 0);
    for part in ["an estimate", "scale.cu:5", "bound by", "NVIDIA B200", "blocks/SM"] {
        assert!(out.contains(part), "`{part}` is missing:\n{out}");
    }
    let (code, _, err) = folder.said(&format!("profile scale.ptx --ptxas off {WRONG}"));
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("out_of_bounds"), "{err}");
}
