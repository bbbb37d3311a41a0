//! Random operands against plain Rust formulas.

use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};

/// Runs `z = op(x, y)` over 32-bit lanes.
fn binary(instruction: &str, ty: &str, x: &[u32], y: &[u32]) -> Vec<u32> {
    lanes_of(&format!("{instruction} %a3, %a1, %a2;"), ty, x, y)
}

/// Runs statements that make `%a3` from `%a1` and `%a2`.
fn lanes_of(body: &str, ty: &str, x: &[u32], y: &[u32]) -> Vec<u32> {
    let text = format!(
        ".version 8.6\n.target sm_90\n.address_size 64\n\
         .visible .entry f(.param .u64 x, .param .u64 y, .param .u64 z)\n{{\n.reg .{ty} %a<4>; .reg .b64 %rd<8>; .reg .b32 %r<2>;\n\
         ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u64 %rd3, [z];\n\
         mov.u32 %r1, %tid.x; mul.wide.u32 %rd4, %r1, 4;\n\
         add.s64 %rd1, %rd1, %rd4; add.s64 %rd2, %rd2, %rd4; add.s64 %rd3, %rd3, %rd4;\n\
         ld.global.{ty} %a1, [%rd1]; ld.global.{ty} %a2, [%rd2];\n{body}\nst.global.{ty} [%rd3], %a3;\nret;\n}}\n"
    );
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let kernel = Kernel::new(&module, "f").unwrap_or_else(|error| panic!("{error}"));
    let bytes = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (x_bytes, y_bytes) = (bytes(x), bytes(y));
    let mut z = vec![0u8; x_bytes.len()];
    let mut memory = Memory::new();
    let mut params = memory.input("x", &x_bytes).to_le_bytes().to_vec();
    params.extend(memory.input("y", &y_bytes).to_le_bytes());
    params.extend(memory.output("z", &mut z).to_le_bytes());
    let launch = Launch::new([1, 1, 1], [x.len() as u32, 1, 1], params);
    run(&kernel, &launch, &mut memory, &Options::default()).unwrap_or_else(|stop| panic!("{body}: {stop}"));
    drop(memory);
    z.chunks_exact(4).map(|chunk| u32::from_le_bytes(chunk.try_into().expect("four bytes"))).collect()
}

/// What an instruction should give.
type Formula = fn(u32, u32) -> u32;

/// 1000 words: edges first, then a fixed pseudo-random stream.
fn words(mut state: u64) -> Vec<u32> {
    let mut words =
        vec![0, 1, 0x8000_0000, 0x7fff_ffff, 0xffff_ffff, 0x3f80_0000, 0x7f80_0000, 0x0080_0000, 0x0000_0001];
    while words.len() < 1000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        words.push((state >> 32) as u32);
    }
    words
}

#[test]
fn integers_agree_with_rust() {
    let (x, y) = (words(1), words(2));
    let cases: [(&str, &str, Formula); 9] = [
        ("add.u32", "u32", u32::wrapping_add),
        ("sub.u32", "u32", u32::wrapping_sub),
        ("mul.lo.u32", "u32", u32::wrapping_mul),
        ("mul.hi.u32", "u32", |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
        ("mul.hi.s32", "s32", |a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32),
        ("max.s32", "s32", |a, b| (a as i32).max(b as i32) as u32),
        ("shl.b32", "b32", |a, b| if b < 32 { a << b } else { 0 }),
        ("shr.s32", "s32", |a, b| ((a as i32) >> b.min(31)) as u32),
        ("add.sat.s32", "s32", |a, b| (a as i32).saturating_add(b as i32) as u32),
    ];
    for (instruction, ty, formula) in cases {
        for (index, z) in binary(instruction, ty, &x, &y).into_iter().enumerate() {
            assert_eq!(z, formula(x[index], y[index]), "{instruction} of {:#x}, {:#x}", x[index], y[index]);
        }
    }
}

#[test]
fn floats_agree_with_rust_in_every_rounding_mode() {
    let (x, y) = (words(3), words(4));
    for operation in ["add", "mul"] {
        let nearest = binary(&format!("{operation}.rn.f32"), "f32", &x, &y);
        let down = binary(&format!("{operation}.rm.f32"), "f32", &x, &y);
        let up = binary(&format!("{operation}.rp.f32"), "f32", &x, &y);
        let zero = binary(&format!("{operation}.rz.f32"), "f32", &x, &y);
        for index in 0..x.len() {
            let (a, b) = (f32::from_bits(x[index]), f32::from_bits(y[index]));
            let expected = if operation == "add" { a + b } else { a * b };
            let place = format!("{operation} of {a:e}, {b:e}");
            if expected.is_nan() {
                assert_eq!(nearest[index], 0x7fff_ffff, "{place}");
                continue;
            }
            assert_eq!(nearest[index], expected.to_bits(), "{place}");
            let [down, up, zero] = [down[index], up[index], zero[index]].map(f32::from_bits);
            assert!(down <= expected && expected <= up, "{place}: {down:e} {expected:e} {up:e}");
            assert!(down == up || down.next_up() == up, "{place}: {down:e} and {up:e} are not neighbours");
            assert_eq!(
                zero,
                if expected > 0.0 || down > 0.0 {
                    down
                } else if up < 0.0 || expected < 0.0 {
                    up
                } else {
                    zero
                }
            );
        }
    }
}

#[test]
fn narrow_floats_agree_with_the_tables_of_the_spec() {
    use factory_spec::float8::{f32_to_e4m3_satfinite, f32_to_e5m2_satfinite};
    // Every exponent, with fractions at and beside the ties of each format.
    let mut x = words(5);
    for exponent in 0..256u32 {
        for fraction in [0, 1, 0x0f_ffff, 0x10_0000, 0x10_0001, 0x1000, 0x0fff, 0x3000, 0x08_0000, 0x7f_ffff]
        {
            x.push(exponent << 23 | fraction | (fraction & 1) << 31);
        }
    }
    // Blocks have 1024 threads at most.
    for x in x.chunks(1000) {
        let y: Vec<u32> = x.iter().map(|bits| bits.rotate_left(7)).collect();
        let pairs = |to: fn(f32) -> u32, bits: u32| {
            let expected: Vec<u32> = x
                .iter()
                .zip(&y)
                .map(|(a, b)| to(f32::from_bits(*a)) << bits | to(f32::from_bits(*b)))
                .collect();
            expected
        };
        let f16: fn(f32) -> u32 = |value| {
            if value.is_nan() { 0x7fff } else { u32::from(half::f16::from_f32(value).to_bits()) }
        };
        let bf16: fn(f32) -> u32 = |value| {
            if value.is_nan() { 0x7fff } else { u32::from(half::bf16::from_f32(value).to_bits()) }
        };
        for (form, to, bits) in [("f16x2", f16, 16), ("bf16x2", bf16, 16)] {
            let actual = binary(&format!("cvt.rn.{form}.f32"), "b32", x, &y);
            assert_eq!(actual, pairs(to, bits), "{form}");
        }
        let e4m3: fn(f32) -> u32 =
            |value| if value.is_nan() { 0x7f } else { u32::from(f32_to_e4m3_satfinite(value)) };
        let e5m2: fn(f32) -> u32 =
            |value| if value.is_nan() { 0x7f } else { u32::from(f32_to_e5m2_satfinite(value)) };
        for (form, to) in [("e4m3x2", e4m3), ("e5m2x2", e5m2)] {
            let body =
                format!(".reg .b16 %h; cvt.rn.satfinite.{form}.f32 %h, %a1, %a2; cvt.u32.u16 %a3, %h;");
            let actual = lanes_of(&body, "b32", x, &y);
            assert_eq!(actual, pairs(to, 8), "{form}");
        }
    }
}
