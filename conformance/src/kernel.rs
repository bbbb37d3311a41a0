//! The kernel around an instruction.

use std::fmt::Write;

use crate::kind::{Register, register};

/// Threads of a block.
pub(crate) const BLOCK: usize = 128;
/// Bytes of one input in memory, and of the memory of a thread's own.
pub(crate) const CELL: usize = 16;
pub(crate) const SCRATCH: usize = 32;

/// Where each output lies in a case's bytes, and how many these are.
pub(crate) fn layout(outputs: &[Register]) -> (Vec<usize>, usize) {
    let mut offsets = Vec::new();
    let mut end = 0usize;
    for output in outputs {
        let at = end.next_multiple_of(output.bytes());
        offsets.push(at);
        end = at + output.bytes();
    }
    let align = outputs.iter().map(|output| output.bytes()).max().unwrap_or(1);
    (offsets, end.next_multiple_of(align))
}

/// Puts registers in the places of a template.
fn fill(template: &str, outputs: usize, inputs: usize) -> String {
    let template = if template.contains('$') {
        template.to_owned()
    } else {
        let outputs = (0..outputs).map(|index| format!("$x{index}"));
        let inputs = (0..inputs).map(|index| format!("${index}"));
        format!("{template} {}", outputs.chain(inputs).collect::<Vec<_>>().join(", "))
    };
    let mut text = String::new();
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        text.push('%');
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            text.push('i');
        } else if let Some('m' | 's' | 'S' | 'l' | 'i') = after.chars().next() {
            text.push_str("at_");
        }
        rest = after;
    }
    text.push_str(rest);
    let text = text.trim_end();
    if text.ends_with(';') || text.starts_with('{') { text.to_owned() } else { format!("{text};") }
}

/// The module of a form with its entry of the name `form`.
pub(crate) fn module(entry: &str, template: &str, outputs: &[&str], inputs: &[&str], cases: usize) -> String {
    let mut text = String::new();
    let registers: Vec<Register> = outputs.iter().map(|kind| register(kind)).collect();
    let (offsets, stride) = layout(&registers);
    let uses = |place: &str| {
        template
            .match_indices(place)
            .any(|(at, _)| !template[at + place.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    let mut line = |part: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{part}");
    };
    line(format_args!(
        ".visible .entry {entry}(.param .u64 inputs, .param .u64 outputs, .param .u64 scratch)"
    ));
    line(format_args!("{{"));
    line(format_args!("\t.reg .b32 %case, %at;\n\t.reg .b64 %in, %out, %step;"));
    for (index, kind) in inputs.iter().enumerate() {
        line(format_args!("\t.reg .{} %i{index};", register(kind).ty()));
    }
    for (index, output) in registers.iter().enumerate() {
        line(format_args!("\t.reg .{} %x{index};", output.ty()));
    }
    line(format_args!(
        "\tmov.u32 %case, %ctaid.x;\n\tmov.u32 %at, %tid.x;\n\tmad.lo.u32 %case, %case, {BLOCK}, %at;"
    ));
    line(format_args!("\tld.param.u64 %in, [inputs];\n\tcvta.to.global.u64 %in, %in;"));
    line(format_args!("\tmul.wide.u32 %step, %case, {CELL};\n\tadd.u64 %in, %in, %step;"));
    line(format_args!("\tld.param.u64 %out, [outputs];\n\tcvta.to.global.u64 %out, %out;"));
    line(format_args!("\tmul.wide.u32 %step, %case, {stride};\n\tadd.u64 %out, %out, %step;"));
    if uses("$m") {
        line(format_args!(
            "\t.reg .b64 %at_m;\n\tld.param.u64 %at_m, [scratch];\n\tcvta.to.global.u64 %at_m, %at_m;"
        ));
        line(format_args!("\tmul.wide.u32 %step, %case, {SCRATCH};\n\tadd.u64 %at_m, %at_m, %step;"));
    }
    if uses("$s") || uses("$S") {
        line(format_args!("\t.shared .align 1024 .b8 tile[{}];", BLOCK * SCRATCH));
        line(format_args!(
            "\t.reg .b32 %at_s;\n\tmov.u32 %at_s, tile;\n\tmad.lo.u32 %at_s, %at, {SCRATCH}, %at_s;"
        ));
        line(format_args!("\t.reg .b64 %at_S;\n\tcvt.u64.u32 %at_S, %at_s;"));
    }
    if uses("$l") {
        line(format_args!(
            "\t.local .align 16 .b8 own[{SCRATCH}];\n\t.reg .b64 %at_l;\n\tmov.u64 %at_l, own;"
        ));
    }
    if uses("$i") {
        line(format_args!("\t.reg .b64 %at_i;\n\tmov.u64 %at_i, %in;"));
    }
    for (index, kind) in inputs.iter().enumerate() {
        let at = index * cases * CELL;
        match register(kind) {
            Register::Predicate => {
                line(format_args!("\tld.global.b32 %at, [%in+{at}];\n\tsetp.ne.b32 %i{index}, %at, 0;"));
            }
            register => line(format_args!("\tld.global.{} %i{index}, [%in+{at}];", register.ty())),
        }
    }
    line(format_args!("\t{}", fill(template, outputs.len(), inputs.len())));
    for (index, (output, at)) in registers.iter().zip(&offsets).enumerate() {
        match output {
            Register::Predicate => {
                line(format_args!("\tselp.b32 %at, 1, 0, %x{index};\n\tst.global.b8 [%out+{at}], %at;"));
            }
            output => line(format_args!("\tst.global.{} [%out+{at}], %x{index};", output.ty())),
        }
    }
    line(format_args!("\tret;\n}}"));
    text
}

/// What stands above the entries of a module.
pub(crate) const HEADER: &str = ".version 9.0\n.target sm_90a\n.address_size 64\n\n";
