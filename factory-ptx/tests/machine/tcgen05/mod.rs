//! Matrix products of the fifth-generation tensor core, for every type, layout and organisation, compared with exact
//! ones. Values are small integers, so that every sum is exact whatever its order.
//!
//! Layouts are written down here a second time, from the PTX ISA's tables (section 9.7.16.10) and independently of the
//! machine.

mod layout;

use factory_ptx::machine::{FaultKind, Kernel, Launch, Memory, Options, Stop, run};

use self::layout::{Format, Matrix, Place, cell, image, put_factors};

/// One multiply.
#[derive(Clone, Debug)]
struct Case {
    kind: &'static str,
    a: Format,
    b: Format,
    m: usize,
    n: usize,
    pair: bool,
    weights: bool,
    left: Place,
    right: Place,
    /// Further bits of the instruction descriptor.
    bits: u32,
    /// Code of the type of D, and the bits that D has before.
    d: u32,
    before: u32,
    enable: bool,
    /// Lanes of the first warp that are left alone.
    mask: u32,
    scale: u32,
    shift: bool,
    /// Scale factors along K, whether they are e8m0, and the byte that they begin at.
    factors: Option<(usize, bool, usize)>,
}

impl Case {
    fn new(kind: &'static str, a: Format, b: Format, m: usize, n: usize) -> Case {
        Case {
            kind,
            a,
            b,
            m,
            n,
            pair: false,
            weights: false,
            left: Place::Rows(2),
            right: Place::Rows(2),
            bits: 0,
            d: if kind == "i8" { 2 } else { 1 },
            before: 0,
            enable: false,
            mask: 0,
            scale: 0,
            shift: false,
            factors: None,
        }
    }

    /// Words of tensor memory after the multiply, 256 columns of 128 lanes of each block.
    fn run(&self, a: &Matrix, b: &Matrix, options: &Options) -> Result<Vec<u32>, Stop> {
        let group = if self.pair { "cta_group::2" } else { "cta_group::1" };
        let weights = if self.weights { "ws." } else { "" };
        let block_scale = match self.factors {
            None => "",
            Some((1, ..)) => ".block_scale.scale_vec::1X",
            Some((2, ..)) => ".block_scale.scale_vec::2X",
            Some(_) => ".block_scale.block16",
        };
        let shift = if self.shift { ".ashift" } else { "" };
        let text = include_str!("probe.ptx")
            .replace("@GROUP@", group)
            .replace("@WORDS@", &format!("{weights}{group}.kind::{}{block_scale}{shift}", self.kind))
            .replace("@LEFT@", if self.left == Place::Tensor { "[%r13]" } else { "%rd3" })
            .replace("@MASK@", &self.mask.to_string())
            .replace(
                "@LANES@",
                match (self.mask, self.pair) {
                    (0, _) => "",
                    (_, false) => "{%r14, %r15, %r15, %r15}, ",
                    (_, true) => "{%r14, %r15, %r15, %r15, %r15, %r15, %r15, %r15}, ",
                },
            )
            .replace("@ENABLE@", if self.enable { "eq" } else { "ne" })
            .replace("@SCALE@", &if self.scale == 0 { String::new() } else { format!(", {}", self.scale) })
            .replace("@FACTORS@", if self.factors.is_some() { "[%r17], [%r18], " } else { "" })
            .replace("@BOTH@", if self.pair { "3" } else { "1" });
        let module = factory_ptx::parse(&text).expect("the probe parses");
        if let Err(errors) = factory_ptx::check(&module) {
            panic!("{}", errors[0].render(&text));
        }
        let kernel = Kernel::new(&module, "probe").expect("the probe decodes");
        let blocks = 1 + usize::from(self.pair);
        let rows = self.m / blocks;
        let mut left = Vec::new();
        let mut right = Vec::new();
        for block in 0..blocks {
            // A in tensor memory lies at the lanes of its rows of D, and again where other columns are.
            let lanes = |row: usize| -> Vec<usize> {
                let last = self.n - 1;
                let mut lanes: Vec<usize> = (0..=last)
                    .map(|column| cell(self.m, self.pair, self.weights, row, column, self.n).0)
                    .collect();
                lanes.dedup();
                lanes
            };
            left.extend(image(a, block * rows..(block + 1) * rows, self.a, self.left, lanes));
            let columns = self.n / blocks;
            right
                .extend(image(b, block * columns..(block + 1) * columns, self.b, self.right, |_| Vec::new()));
        }
        if let Some((count, _, byte)) = self.factors {
            for block in 0..blocks {
                let of_a = &a.factors[block * rows * count..(block + 1) * rows * count];
                put_factors(&mut left[block * 32_768..], of_a, &b.factors, count, byte);
            }
        }
        let mut out = vec![0u8; blocks * 131_072];
        let rest = match self.factors {
            None => self.d << 4 | (self.m as u32 / 16) << 24,
            Some((_, e8m0, byte)) => {
                (byte as u32) << 4 | u32::from(e8m0) << 23 | (self.m as u32 / 128) << 27 | (byte as u32) << 29
            }
        };
        let idesc = self.bits
            | rest
            | self.a.code() << 7
            | self.b.code() << 10
            | u32::from(matches!(self.left, Place::Columns(_))) << 15
            | u32::from(matches!(self.right, Place::Columns(_))) << 16
            | (self.n as u32 / 8) << 17;
        {
            let mut memory = Memory::new();
            let mut params = Vec::new();
            for address in [
                memory.input("a", &left),
                memory.input("b", &right),
                memory.output("d", &mut out),
                self.left.descriptor(self.a, rows),
                self.right.descriptor(self.b, self.n / blocks),
            ] {
                params.extend_from_slice(&address.to_le_bytes());
            }
            params.extend_from_slice(&idesc.to_le_bytes());
            params.extend_from_slice(&self.before.to_le_bytes());
            let mut launch = Launch::new([blocks as u32, 1, 1], [128, 1, 1], params);
            launch.cluster = [blocks as u32, 1, 1];
            let report = run(&kernel, &launch, &mut memory, options)?;
            assert_eq!(report.not_compared, ["tcgen05"]);
        }
        Ok(out.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    /// Runs the case and compares every element of D.
    fn check(&self, seed: u64) {
        let depth = self.a.depth();
        let (a, b) = (Matrix::random(self.m, depth, 1, self), Matrix::random(self.n, depth, 2, self));
        let options = Options { seed, instruction_budget: 1_000_000, ..Options::default() };
        let out = self.run(&a, &b, &options).unwrap_or_else(|stop| panic!("{self:?}: {stop}"));
        let rows = self.m / (1 + usize::from(self.pair));
        let sign = if self.bits >> 13 & 1 != self.bits >> 14 & 1 { -1 } else { 1 };
        for row in 0..self.m {
            // `.ashift` moves the rows of each block down by one.
            let from = if self.shift && row % rows > 0 { row - 1 } else { row };
            for column in 0..self.n {
                let exact: i64 =
                    (0..depth).map(|k| i64::from(a.at(from, k)) * i64::from(b.at(column, k))).sum::<i64>()
                        * sign;
                let sum = match self.factors {
                    None => exact as f32,
                    Some((count, e8m0, _)) => {
                        (0..depth)
                            .map(|k| {
                                let part = k * count / depth;
                                let product = f64::from(a.at(from, k)) * f64::from(b.at(column, k));
                                let of_a = factor(a.factors[from * count + part], e8m0);
                                product * of_a * factor(b.factors[column * count + part], e8m0)
                            })
                            .sum::<f64>() as f32
                            * sign as f32
                    }
                };
                let (lane, at) = cell(self.m, self.pair, self.weights, row % rows, column, self.n);
                let found = out[row / rows * 32_768 + lane * 256 + at];
                let masked = lane < 32 && row < rows && self.mask >> lane & 1 != 0;
                let before = if self.enable { self.before_value() } else { 0.0 };
                let expected = match self.d {
                    _ if masked => self.before,
                    2 => (exact + i64::from(if self.enable { self.before as i32 } else { 0 })) as u32,
                    1 => (sum + before).to_bits(),
                    _ => u32::from(half::f16::from_f32(sum + before).to_bits()),
                };
                assert_eq!(found, expected, "{self:?}: row {row}, column {column}");
            }
        }
    }

    fn before_value(&self) -> f32 {
        let value = if self.d == 1 {
            f32::from_bits(self.before)
        } else {
            half::f16::from_bits(self.before as u16).to_f32()
        };
        value / (1 << self.scale) as f32
    }
}

impl Matrix {
    fn random(rows: usize, depth: usize, salt: u64, case: &Case) -> Matrix {
        let mut state = salt ^ (case.m * 1000 + case.n) as u64;
        let signed = case.kind != "i8" || case.a == Format::S8;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        };
        let mut matrix = Matrix::fill(rows, depth, || {
            let value = next() % 6;
            if signed { value as i32 - 2 } else { value as i32 }
        });
        if let Some((count, e8m0, _)) = case.factors {
            let all = if e8m0 { [125, 126, 127, 129] } else { [0x30, 0x38, 0x3c, 0x41] };
            matrix.factors = (0..rows * count).map(|_| all[next() as usize % 4]).collect();
        }
        matrix
    }
}

/// The value of a scale factor.
fn factor(bits: u8, e8m0: bool) -> f64 {
    if e8m0 {
        return 2f64.powi(i32::from(bits) - 127);
    }
    f64::from(8 | bits & 7) * 2f64.powi(i32::from(bits >> 3) - 10)
}

#[test]
fn every_layout_in_shared_memory() {
    for place in [Place::Rows(0), Place::Rows(6), Place::Rows(4), Place::Rows(2)] {
        Case { left: place, right: place, ..Case::new("f16", Format::F16, Format::BF16, 128, 24) }.check(0);
        Case { left: place, right: place, ..Case::new("f8f6f4", Format::E4M3, Format::E2M1, 64, 16) }
            .check(1);
    }
    for place in [Place::Columns(0), Place::Columns(6), Place::Columns(4), Place::Columns(2)] {
        Case { left: place, ..Case::new("f16", Format::F16, Format::F16, 128, 16) }.check(0);
        Case { left: place, right: place, ..Case::new("f16", Format::BF16, Format::F16, 64, 128) }.check(0);
        Case { left: place, right: place, ..Case::new("i8", Format::U8, Format::S8, 128, 256) }.check(3);
    }
    let both = Place::Columns(1);
    Case { left: both, right: both, ..Case::new("tf32", Format::Tf32, Format::Tf32, 128, 64) }.check(0);
}

#[test]
fn every_type() {
    let small = [Format::E4M3, Format::E5M2, Format::E2M3, Format::E3M2, Format::E2M1];
    for a in small {
        for b in small {
            Case::new("f8f6f4", a, b, 128, 8).check(0);
        }
        Case { left: Place::Tensor, ..Case::new("f8f6f4", a, Format::E4M3, 128, 8) }.check(0);
    }
    Case::new("tf32", Format::Tf32, Format::Tf32, 128, 40).check(0);
    Case { left: Place::Tensor, ..Case::new("tf32", Format::Tf32, Format::Tf32, 64, 8) }.check(0);
    for (a, b) in [(Format::U8, Format::U8), (Format::S8, Format::S8)] {
        Case::new("i8", a, b, 64, 32).check(0);
        Case { left: Place::Tensor, before: 77, enable: true, ..Case::new("i8", a, b, 128, 16) }.check(0);
    }
}

#[test]
fn every_organisation_of_lanes() {
    let f16 = |m, n| Case::new("f16", Format::F16, Format::F16, m, n);
    for left in [Place::Rows(2), Place::Tensor] {
        for seed in [0, 1, 2, 7] {
            Case { left, ..f16(128, 32) }.check(seed);
            Case { left, ..f16(64, 32) }.check(seed);
            Case { left, pair: true, ..f16(256, 32) }.check(seed);
            Case { left, pair: true, ..f16(128, 32) }.check(seed);
        }
        for m in [32, 64, 128] {
            Case { left, weights: true, ..f16(m, 64) }.check(0);
        }
    }
}

#[test]
fn what_the_instruction_adds() {
    let f16 = Case::new("f16", Format::F16, Format::F16, 128, 16);
    let five = 5f32.to_bits();
    Case { before: five, enable: true, ..f16.clone() }.check(0);
    Case { before: five, enable: false, ..f16.clone() }.check(0);
    Case { before: five, enable: true, scale: 3, ..f16.clone() }.check(0);
    Case { d: 0, before: 0x4500, enable: true, ..f16.clone() }.check(0);
    Case { bits: 1 << 13, ..f16.clone() }.check(0);
    Case { bits: 1 << 14, before: five, enable: true, ..f16.clone() }.check(0);
    Case { bits: 3 << 13, ..f16.clone() }.check(0);
    Case { mask: 0x8000_00f1, before: five, ..f16.clone() }.check(0);
    Case { mask: 2, before: five, pair: true, m: 256, ..f16.clone() }.check(0);
    Case { left: Place::Tensor, shift: true, ..f16 }.check(0);
}

#[test]
fn every_kind_of_scale_factor() {
    let five = 5f32.to_bits();
    let eights =
        Case { factors: Some((1, true, 0)), ..Case::new("mxf8f6f4", Format::E4M3, Format::E2M3, 128, 40) };
    for byte in 0..4 {
        Case { factors: Some((1, true, byte)), ..eights.clone() }.check(0);
    }
    Case { a: Format::E2M1, left: Place::Tensor, before: five, enable: true, ..eights.clone() }.check(0);
    Case { pair: true, m: 256, n: 256, ..eights.clone() }.check(1);
    Case { pair: true, n: 64, b: Format::E5M2, ..eights.clone() }.check(2);
    Case { bits: 1 << 13, left: Place::Columns(2), ..eights }.check(0);
    let fours =
        Case { factors: Some((2, true, 0)), ..Case::new("mxf4", Format::Pairs, Format::Pairs, 128, 16) };
    fours.check(0);
    Case { factors: Some((2, true, 2)), n: 136, ..fours.clone() }.check(0);
    Case { left: Place::Tensor, ..fours.clone() }.check(0);
    for factors in [(2, true, 0), (4, true, 0), (4, false, 0)] {
        Case { kind: "mxf4nvf4", factors: Some(factors), ..fours.clone() }.check(0);
        let pair =
            Case { kind: "mxf4nvf4", factors: Some(factors), pair: true, m: 256, n: 32, ..fours.clone() };
        pair.check(0);
    }
}

#[test]
fn what_does_not_exist_is_a_fault() {
    let f16 = Case::new("f16", Format::F16, Format::F16, 128, 16);
    let cases = [
        (Case { bits: 1 << 2, ..f16.clone() }, FaultKind::UndefinedOperand),
        (Case { m: 96, ..f16.clone() }, FaultKind::UndefinedOperand),
        (Case { n: 8, pair: true, ..f16.clone() }, FaultKind::UndefinedOperand),
        (Case { left: Place::Columns(1), ..f16.clone() }, FaultKind::UndefinedOperand),
        (Case { d: 2, ..f16.clone() }, FaultKind::UndefinedOperand),
        (
            Case { left: Place::Columns(2), ..Case::new("tf32", Format::Tf32, Format::Tf32, 128, 16) },
            FaultKind::UndefinedOperand,
        ),
        (Case { n: 16, weights: true, ..f16.clone() }, FaultKind::UndefinedOperand),
    ];
    for (case, kind) in cases {
        let zeros = |rows| Matrix::fill(rows, 32, || 0);
        match case.run(&zeros(case.m), &zeros(case.n), &Options::default()) {
            Err(Stop::Fault(fault)) => assert_eq!(fault.kind, kind, "{case:?}: {fault}"),
            other => panic!("{case:?}: {other:?}"),
        }
    }
}

/// The tile of the corpus, with random values, against sums in f64.
#[test]
fn the_tile_agrees_with_f64() {
    let text = include_str!("../../corpus/run/tcgen05_gemm.ptx");
    let module = factory_ptx::parse(text).expect("it parses");
    let kernel = Kernel::new(&module, "tile").expect("it decodes");
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        half::f16::from_f32((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
    };
    let a: Vec<half::f16> = (0..128 * 64).map(|_| random()).collect();
    let b: Vec<half::f16> = (0..128 * 64).map(|_| random()).collect();
    let bytes = |values: &[half::f16]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let (left, right) = (bytes(&a), bytes(&b));
    let mut out = vec![0u8; 4 * 128 * 128];
    let report = {
        let mut memory = Memory::new();
        let params = [memory.input("a", &left), memory.input("b", &right), memory.output("d", &mut out)];
        let params = params.iter().flat_map(|address| address.to_le_bytes()).collect();
        let launch = Launch::new([1, 1, 1], [128, 1, 1], params);
        run(&kernel, &launch, &mut memory, &Options::default()).unwrap_or_else(|stop| panic!("{stop}"))
    };
    assert_eq!(report.not_compared, ["tcgen05"]);
    for (index, found) in out.as_chunks::<4>().0.iter().enumerate() {
        let (row, column) = (index / 128, index % 128);
        let products = (0..64).map(|k| a[row * 64 + k].to_f64() * b[column * 64 + k].to_f64());
        let (exact, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()));
        let error = (f64::from(f32::from_le_bytes(*found)) - exact).abs();
        // Four steps, each cut off at 2^-23 of its greatest term or less.
        assert!(error <= size * 4.0 / f64::from(1 << 23), "row {row}, column {column}: off by {error:e}");
    }
}
