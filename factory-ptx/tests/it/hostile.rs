//! Texts that want to crash, hang or exhaust: each ends with an error, quickly.

use std::time::{Duration, Instant};

use factory_ptx::fuzz::parse_any;
use factory_ptx::{check, parse};

const HEAD: &str = ".version 9.0\n.target sm_90\n.address_size 64\n";

fn error(text: &str) -> String {
    let start = Instant::now();
    let errors = parse(text).expect_err("hostile text must not parse");
    assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    errors.to_string()
}

#[test]
fn deep_nesting_is_an_error() {
    let depth = 200_000;
    for (open, close) in [
        ("{", "}"),
        ("add.s32 %r1, {", ""),
        ("add.s32 %r1, (", ""),
        ("mov.b32 %r1, [a, {", ""),
        ("mov.b32 %r1, -", ""),
    ] {
        let text = format!("{HEAD}.entry k() {{ {} {} }}", open.repeat(depth), close.repeat(depth));
        assert!(error(&text).lines().count() < 200, "{open}");
    }
    let minus = format!("{HEAD}.entry k() {{ mov.b32 %r1, {}1; }}", "-".repeat(depth));
    assert!(error(&minus).contains("nested deeper than 64 levels"));
    let initialiser = format!("{HEAD}.global .b8 x[] = {}1{};", "{".repeat(depth), "}".repeat(depth));
    assert!(error(&initialiser).contains("nested deeper than 64 levels"));
}

#[test]
fn absurd_sizes_are_errors_or_cost_nothing() {
    assert!(error(&format!("{HEAD}.entry k() {{ .reg .b32 %r<4000000000>; ret; }}")).contains("1 to 2^24"));
    assert!(
        error(&format!("{HEAD}.entry k() {{ .reg .b32 %r<99999999999999999999999>; }}"))
            .contains("more than 64 bits")
    );
    assert!(error(&format!("{HEAD}.global .align 3 .b8 x;")).contains("a power of two"));
    assert!(error(&format!("{HEAD}.global .b8 x[1/0];")).contains("division by zero"));
    assert!(error(&format!("{HEAD}.global .b8 x[-1];")).contains("must be 0 or more"));
    // A giant array is only a number here; whoever allocates it must look at it.
    let module = parse(&format!("{HEAD}.global .b8 x[18446744073709551615][2];")).expect("a declaration");
    assert_eq!(module.variables().next().expect("one").size(), None);
}

#[test]
fn unclosed_things_are_errors() {
    assert!(error(&format!("{HEAD}/* never closed")).contains("comment is never closed"));
    assert!(error(&format!("{HEAD}.file 1 \"never closed")).contains("string is never closed"));
    assert!(error(&format!("{HEAD}.entry k() {{ ret;")).contains("expected `}`, found the end of the text"));
    assert!(error("").contains("`.version` is missing"));
    assert!(error(".version 9.0\n").contains("`.target` is missing"));
    assert!(error(&format!("{HEAD}\u{1F980}")).contains("unexpected character"));
}

#[test]
fn several_errors_in_one_run_each_with_its_line() {
    let text = format!(
        "{HEAD}.entry k() {{\n\tadd.s32 %r1 %r2;\n\tret;\n\tmov.u32 %r1, 0f12;\n\t.regg .b32 %r;\n}}\n.glob .b8 x;\n.global .b8 y;\n"
    );
    let errors = parse(&text).expect_err("four mistakes").errors;
    let lines: Vec<u32> = errors.iter().map(|error| error.span.line).collect();
    assert_eq!(lines, [5, 7, 8, 10]);
    assert_eq!(
        errors[0].to_string(),
        "5:14: expected `,` or `;`, found `%r2`\n  |\n5 |  add.s32 %r1 %r2;\n  |              ^^^"
    );
    assert!(errors[2].to_string().contains("did you mean `.reg`?"));
}

#[test]
fn many_errors_stop_early() {
    let text = format!("{HEAD}.entry k() {{ {} }}", "add.s32 %r1 %r2;\n".repeat(200_000));
    let start = Instant::now();
    assert_eq!(parse(&text).expect_err("wrong").errors.len(), 20);
    let unknown = format!("{HEAD}.entry k() {{ {} }}", "frobnicate.s32 %r1, %r2;\n".repeat(200_000));
    assert_eq!(check(&parse(&unknown).expect("grammatical")).expect_err("wrong").len(), 100);
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// One long line, one long token, many tokens: twice the text may not take four times as long.
#[test]
fn time_is_linear() {
    let shapes: [fn(usize) -> String; 5] = [
        |n| format!("{HEAD}.global .b8 x[] = {{{}0}};", "0,".repeat(n)),
        |n| format!("{HEAD}.entry k() {{ {} ret; }}", "add.s32 %r1, %r1, %r1; ".repeat(n / 10)),
        |n| format!("{HEAD}.entry {}() {{ ret; }}", "k".repeat(n)),
        |n| format!("{HEAD}.entry k() {{ mov.b32 %r1, {}1; }}", "1+".repeat(n)),
        |n| format!("{HEAD}.entry k() {{ {} ret; }}", "L: ".repeat(n / 4)),
    ];
    for (position, shape) in shapes.iter().enumerate() {
        let time = |n: usize| {
            let text = shape(n);
            (0..3)
                .map(|_| {
                    let start = Instant::now();
                    parse_any(text.as_bytes());
                    start.elapsed()
                })
                .min()
                .unwrap_or_default()
        };
        let (small, large) = (time(50_000), time(400_000));
        // Eight times the text; a quadratic step would take 64 times as long.
        assert!(large < small * 30 + Duration::from_millis(200), "shape {position}: {small:?}, {large:?}");
    }
}

/// Cuts and mutations of real files, for a second.
#[test]
fn mutated_text_never_panics() {
    let seeds = [
        include_str!("../corpus/nvcc/hopper.sm_90a.ptx"),
        include_str!("../corpus/nvcc/functions.sm_90.debug.ptx"),
        include_str!("../corpus/nvcc/atomics.sm_90.ptx"),
    ];
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let pieces: [&[u8]; 14] =
        [b"{", b"}", b"(", b")", b"[", b"]", b";", b".b32", b"-", b"0x", b"\"", b"/*", b"%r1", b"\xff"];
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < Duration::from_secs(1) || runs < 50 {
        let seed = seeds[random(seeds.len())].as_bytes();
        let from = random(seed.len());
        let mut bytes = if random(2) == 0 { seed[..from].to_vec() } else { seed.to_vec() };
        for _ in 0..random(12) {
            let at = random(bytes.len() + 1);
            match random(4) {
                0 => drop(bytes.splice(at..at, pieces[random(pieces.len())].iter().copied())),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => bytes[at] = random(256) as u8,
                _ => {
                    let end = (at + random(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    let to = random(bytes.len() + 1);
                    drop(bytes.splice(to..to, copy));
                }
            }
        }
        parse_any(&bytes);
        runs += 1;
    }
    println!("{runs} mutated texts");
}
