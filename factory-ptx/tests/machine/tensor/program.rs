//! The PTX programs around the recorded matrix instructions.

use std::fmt::Write;

use super::inputs::Form;

const HEAD: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n\
     .visible .entry k(.param .u64 in, .param .u64 out)\n{\n\
     .reg .pred %p<8>; .reg .b32 %r<64>; .reg .b64 %rd<64>; .reg .b32 %x<2048>; .reg .f32 %f<512>; .reg .f64 %g<64>;\n";

/// `name0, name1, …` from `first`.
fn list(name: &str, first: usize, count: usize) -> String {
    let names: Vec<String> = (first..first + count).map(|index| format!("{name}{index}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// Loads the pointers of this case and thread.
fn pointers(form: &Form) -> String {
    format!(
        "ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out]; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %tid.x;\n\
         mul.wide.u32 %rd3, %r1, {}; add.s64 %rd1, %rd1, %rd3; mul.wide.u32 %rd3, %r1, {}; add.s64 %rd2, %rd2, %rd3;\n\
         mul.wide.u32 %rd4, %r2, 4; add.s64 %rd5, %rd1, %rd4; add.s64 %rd6, %rd2, %rd4;\n",
        4 * form.in_words(),
        4 * form.out_words,
    )
}

/// The program of a form.
pub(crate) fn program(form: &Form) -> String {
    let mut text = HEAD.to_owned();
    let instruction = form.name.split(' ').next().unwrap_or_default();
    if instruction.starts_with("wgmma") {
        wgmma(form, instruction, &mut text);
    } else if instruction.starts_with("mma") {
        mma(form, instruction, &mut text);
    } else {
        matrix(form, instruction, &mut text);
    }
    text.push_str("ret;\n}\n");
    text
}

fn mma(form: &Form, instruction: &str, text: &mut String) {
    text.push_str(&pointers(form));
    let types: Vec<&str> = instruction.split('.').collect();
    let double = instruction.ends_with("f64");
    // Registers of A, B, C, D: name and how many rows.
    let mut groups = Vec::new();
    let mut offset = 0;
    let mut first = [0usize; 3];
    let mut load = |text: &mut String, rows: usize, float: bool| -> String {
        if double {
            let start = first[2];
            for pair in 0..rows / 2 {
                let at = 4 * (offset + 64 * pair);
                let _ = writeln!(
                    text,
                    "ld.global.b32 %r10, [%rd5+{at}]; ld.global.b32 %r11, [%rd5+{}]; mov.b64 %g{}, {{%r10, %r11}};",
                    at + 128,
                    start + pair
                );
            }
            first[2] += rows / 2;
            offset += 32 * rows;
            return list("%g", start, rows / 2);
        }
        let (name, class) = if float { ("%f", 0) } else { ("%x", 1) };
        let start = first[class];
        for row in 0..rows {
            let _ =
                writeln!(text, "ld.global.b32 {name}{}, [%rd5+{}];", start + row, 4 * (offset + 32 * row));
        }
        first[class] += rows;
        offset += 32 * rows;
        list(name, start, rows)
    };
    let c_float = form.segments[2].ty == 3;
    for (index, segment) in form.segments.iter().enumerate() {
        groups.push(load(text, segment.words / 32, index == 2 && c_float));
    }
    let d_float = types.iter().rev().nth(3) == Some(&"f32");
    let rows = form.out_words / 32;
    let (name, d) = if double {
        ("%g", list("%g", 40, rows / 2))
    } else if d_float {
        ("%f", list("%f", 100, rows))
    } else {
        ("%x", list("%x", 100, rows))
    };
    let _ = writeln!(text, "{instruction} {d}, {}, {}, {};", groups[0], groups[1], groups[2]);
    if double {
        for pair in 0..rows / 2 {
            let at = 256 * pair;
            let _ = writeln!(
                text,
                "mov.b64 {{%r10, %r11}}, %g{}; st.global.b32 [%rd6+{at}], %r10; st.global.b32 [%rd6+{}], %r11;",
                40 + pair,
                at + 128
            );
        }
        return;
    }
    for row in 0..rows {
        let _ = writeln!(text, "st.global.b32 [%rd6+{}], {name}{};", 128 * row, 100 + row);
    }
}

/// `ldmatrix`, `stmatrix`, `movmatrix`.
fn matrix(form: &Form, instruction: &str, text: &mut String) {
    let count = [1, 2, 4].into_iter().find(|count| instruction.contains(&format!("x{count}"))).unwrap_or(1);
    if instruction.starts_with("movmatrix") {
        text.push_str(&pointers(form));
        let _ =
            writeln!(text, "ld.global.b32 %x0, [%rd5]; {instruction} %x1, %x0; st.global.b32 [%rd6], %x1;");
        return;
    }
    text.push_str(".shared .align 16 .b8 s[4096];\n");
    text.push_str(&pointers(form));
    text.push_str("mov.u32 %r3, s; shl.b32 %r4, %r2, 2; add.u32 %r5, %r3, %r4; ld.global.b32 %r6, [%rd5]; add.u32 %r6, %r6, %r3;\n");
    let load = instruction.starts_with("ldmatrix");
    for row in 0..if load { 32 } else { 8 } {
        if load {
            let _ = writeln!(text, "ld.global.b32 %x0, [%rd5+{}];", 128 + 128 * row);
        } else {
            text.push_str("mov.b32 %x0, 0;\n");
        }
        let _ = writeln!(text, "st.shared.b32 [%r5+{}], %x0;", 128 * row);
    }
    text.push_str("bar.warp.sync 0xffffffff;\n");
    if load {
        let _ = writeln!(text, "{instruction} {}, [%r6];", list("%x", 1, count));
        for row in 0..count {
            let _ = writeln!(text, "st.global.b32 [%rd6+{}], %x{};", 128 * row, 1 + row);
        }
        return;
    }
    for row in 0..count {
        let _ = writeln!(text, "ld.global.b32 %x{}, [%rd5+{}];", 1 + row, 128 + 128 * row);
    }
    let _ = writeln!(text, "{instruction} [%r6], {}; bar.warp.sync 0xffffffff;", list("%x", 1, count));
    for row in 0..8 {
        let _ = writeln!(text, "ld.shared.b32 %x0, [%r5+{0}]; st.global.b32 [%rd6+{0}], %x0;", 128 * row);
    }
}

/// What stands behind the predicate of a `wgmma` form.
fn immediates(name: &str, instruction: &str, registers: bool) -> String {
    if instruction.contains("s32") {
        return String::new();
    }
    let signs = ["-1-1", "-11", "1-1"].into_iter().find(|word| name.ends_with(&format!(" neg{word}")));
    let mut text = match signs {
        Some("-1-1") => ", -1, -1",
        Some("-11") => ", -1, 1",
        Some(_) => ", 1, -1",
        None => ", 1, 1",
    }
    .to_owned();
    if instruction.ends_with(".f16.f16") || instruction.contains("bf16") {
        let digits: Vec<char> = name
            .split_once("trans")
            .map_or(Vec::new(), |(_, digits)| digits.chars().filter(char::is_ascii_digit).collect());
        let (a, b) = match (digits[..].first(), digits.get(1)) {
            (Some(a), Some(b)) => (*a, *b),
            (Some(one), None) if name.contains(" A layout") => (*one, '0'),
            (Some(one), None) => ('0', *one),
            _ => ('0', '0'),
        };
        if !registers {
            let _ = write!(text, ", {a}");
        }
        let _ = write!(text, ", {b}");
    }
    text
}

fn wgmma(form: &Form, instruction: &str, text: &mut String) {
    let registers = form.name.contains(" RS") || form.name.contains(" B layout");
    let a_rows = if registers { 4 } else { 0 };
    let rows = form.out_words / 128;
    let float = instruction.contains(".f32.");
    let name = if float { "%f" } else { "%x" };
    let image = form.in_words() - 8 - 128 * (a_rows + rows);
    text.push_str(".shared .align 1024 .b8 s[65536];\n");
    text.push_str(&pointers(form));
    // The image, then zeros.
    let _ = writeln!(
        text,
        "mov.u32 %r3, s; mov.u32 %r4, %r2;\nfill: shl.b32 %r5, %r4, 2; add.u32 %r5, %r5, %r3; mov.b32 %r6, 0;\n\
         setp.lt.u32 %p1, %r4, {image}; mul.wide.u32 %rd7, %r4, 4; add.s64 %rd7, %rd1, %rd7;\n\
         @%p1 ld.global.b32 %r6, [%rd7+{}]; st.shared.b32 [%r5], %r6;\n\
         add.u32 %r4, %r4, 128; setp.lt.u32 %p1, %r4, 16384; @%p1 bra fill;\n\
         fence.proxy.async; bar.sync 0;",
        4 * (8 + 128 * (a_rows + rows)),
    );
    text.push_str(
        "cvt.u64.u32 %rd8, %r3; shr.u64 %rd8, %rd8, 4;\n\
         ld.global.b64 %rd9, [%rd1]; add.s64 %rd9, %rd9, %rd8; ld.global.b64 %rd10, [%rd1+8]; add.s64 %rd10, %rd10, %rd8;\n\
         ld.global.b32 %r7, [%rd1+16]; setp.ne.b32 %p2, %r7, 0;\n",
    );
    for row in 0..a_rows {
        let _ = writeln!(text, "ld.global.b32 %x{}, [%rd5+{}];", 1000 + row, 32 + 512 * row);
    }
    for row in 0..rows {
        let _ = writeln!(text, "ld.global.b32 {name}{row}, [%rd5+{}];", 32 + 512 * (a_rows + row));
    }
    let a = if registers { list("%x", 1000, 4) } else { "%rd9".to_owned() };
    let _ = writeln!(
        text,
        "wgmma.fence.sync.aligned;\n{instruction} {}, {a}, %rd10, %p2{};\n\
         wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;",
        list(name, 0, rows),
        immediates(&form.name, instruction, registers),
    );
    for row in 0..rows {
        let _ = writeln!(text, "st.global.b32 [%rd6+{}], {name}{row};", 512 * row);
    }
}
