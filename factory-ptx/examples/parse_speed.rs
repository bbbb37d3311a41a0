//! Prints how fast PTX text is parsed and checked: `cargo run --release -p factory-ptx --example parse_speed -- file.ptx`.

use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    for path in std::env::args().skip(1) {
        text = std::fs::read_to_string(&path)?;
        report(&path, &text)?;
    }
    if text.is_empty() {
        report("50,000 generated lines", &generated(50_000))?;
    }
    Ok(())
}

/// A kernel with `lines` lines of ordinary instructions.
fn generated(lines: usize) -> String {
    let mut text = String::from(
        ".version 9.0\n.target sm_90\n.address_size 64\n\n.visible .entry k(\n\t.param .u64 k_param_0\n)\n{\n\
         \t.reg .pred \t%p<2>;\n\t.reg .b32 \t%r<100>;\n\t.reg .b64 \t%rd<3>;\n\tld.param.u64 \t%rd1, [k_param_0];\n",
    );
    let forms = [
        "\tmad.lo.s32 \t%r4, %r1, %r2, %r3;\n",
        "\tld.global.nc.v4.u32 \t{%r5, %r6, %r7, %r8}, [%rd1+4096];\n",
        "\tfma.rn.f32 \t%r9, %r5, 0f3F800000, %r6;\n",
        "\tsetp.lt.s32 \t%p1, %r4, 1024;\n",
        "\tst.global.u32 \t[%rd1+-4], %r9;\n",
    ];
    for line in 0..lines {
        text.push_str(forms[line % forms.len()]);
    }
    text.push_str("\tret;\n}\n");
    text
}

/// Best of several runs, in MB/s.
fn report(name: &str, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut parse = f64::INFINITY;
    let mut check = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        let module = factory_ptx::parse(text)?;
        parse = parse.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let verdict = factory_ptx::check(&module);
        check = check.min(start.elapsed().as_secs_f64());
        if let Err(errors) = verdict {
            println!("{name}: {} errors, the first: {}", errors.len(), errors[0]);
        }
    }
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{name}: {megabytes:.2} MB, parse {:.0} MB/s, check {:.0} MB/s",
        megabytes / parse,
        megabytes / check
    );
    Ok(())
}
