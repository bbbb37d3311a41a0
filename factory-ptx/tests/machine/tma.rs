//! Tensor copies, bulk reductions, the encoding of tensor maps and `tensormap.replace`, byte by byte as an H200 did
//! them.
//!
//! `corpus/tma/cases.txt` has a case a line (`name kind key=value …`), `copies.ptx` the kernels, `answers.bin` what the
//! GPU (or, for encodings, its driver) gave: for each case the bytes, packed as runs.

use std::collections::HashMap;
use std::path::Path;

use factory_ptx::machine::{
    Interleave, Kernel, L2Promotion, Launch, Memory, Options, OutOfBounds, Stop, Swizzle, TensorMap,
    TensorMapType, run,
};

/// A line of the list of cases.
struct Case<'t> {
    name: &'t str,
    kind: &'t str,
    keys: HashMap<&'t str, &'t str>,
}

impl<'t> Case<'t> {
    fn read(line: &'t str) -> Case<'t> {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().expect("a name"), words.next().expect("a kind"));
        Case { name, kind, keys: words.map(|word| word.split_once('=').expect("key=value")).collect() }
    }

    fn list(&self, key: &str) -> Vec<i64> {
        self.keys[key].split(',').map(|number| number.parse().expect("a number")).collect()
    }

    fn number(&self, key: &str) -> u64 {
        self.keys.get(key).map_or(0, |number| number.parse().expect("a number"))
    }

    fn map(&self, address: u64) -> TensorMap {
        let list = |key| self.list(key);
        let dims: Vec<u64> = list("dims").into_iter().map(|n| n as u64).collect();
        let mut strides: Vec<u64> = list("strides").into_iter().map(|n| n as u64).collect();
        strides.truncate(dims.len() - 1);
        let box_dims: Vec<u32> = list("box").into_iter().map(|n| n as u32).collect();
        let steps: Vec<u32> = list("es").into_iter().map(|n| n as u32).collect();
        let interleaves = [Interleave::None, Interleave::Bytes16, Interleave::Bytes32];
        let promotions =
            [L2Promotion::None, L2Promotion::Bytes64, L2Promotion::Bytes128, L2Promotion::Bytes256];
        let fills = [OutOfBounds::Zeros, OutOfBounds::Nan];
        TensorMap::new(TensorMapType::ALL[self.number("type") as usize], address, &dims, &strides, &box_dims)
            .element_strides(&steps)
            .interleave(interleaves[self.number("il") as usize])
            .swizzle(Swizzle::ALL[self.number("sw") as usize])
            .l2_promotion(promotions[self.number("l2") as usize])
            .fill(fills[self.number("oob") as usize])
    }
}

fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

const F16: [u64; 19] = [
    0, 0x8000, 1, 0x8001, 0x3ff, 0x83ff, 0x400, 0x8400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00,
    0x7e00, 0xfe01, 0x7c01, 0x3555, 0x6400,
];
const BF16: [u64; 19] = [
    0, 0x8000, 1, 0x8001, 0x7f, 0x807f, 0x80, 0x8080, 0x3f80, 0xbf80, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0,
    0xffc1, 0x7f81, 0x3eab, 0x4300,
];
const F32: [u64; 25] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x7f_ffff,
    0x807f_ffff,
    0x80_0000,
    0x8080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc0_0001,
    0x7f80_0001,
    0x3eaa_aaab,
    0x4b80_0000,
    0x3380_0000,
    0x3f80_1000,
    0x3f80_3000,
    0x3f80_0fff,
    0x7f7f_f000,
    0x7fbf_ffff,
];
const F64: [u64; 19] = [
    0,
    0x8000_0000_0000_0000,
    1,
    0x8000_0000_0000_0001,
    0xf_ffff_ffff_ffff,
    0x800f_ffff_ffff_ffff,
    0x10_0000_0000_0000,
    0x8010_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0xffef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0xfff8_0000_0000_0001,
    0x7ff0_0000_0000_0001,
    0x3fd5_5555_5555_5555,
    0x3ca0_0000_0000_0000,
];
const U32: [u64; 9] = [0, 1, 2, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fffe, 0x7fff_fffe, 0x8000_0001];
const U64: [u64; 9] = [
    0,
    1,
    2,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
];

/// The bytes that a case begins with: `ee`, `index16` (every 16-bit word its own number), or values of a type, its edge
/// cases often.
fn bytes_of(kind: &str, len: usize) -> Vec<u8> {
    let (name, seed) = kind.split_once(':').unwrap_or((kind, "0"));
    let (size, edges, mantissa, bias): (usize, &[u64], u32, u64) = match name {
        "ee" => return vec![0xee; len],
        "index16" => return (0..len / 2).flat_map(|index| (index as u16).to_le_bytes()).collect(),
        "f16" => (2, &F16, 10, 15),
        "bf16" => (2, &BF16, 7, 127),
        "f32" => (4, &F32, 23, 127),
        "f64" => (8, &F64, 52, 1023),
        // The smallest normal numbers.
        "tiny" => (4, &[], 23, 3),
        "u32" => (4, &U32, 0, 0),
        "u64" => (8, &U64, 0, 0),
        other => panic!("`{other}` is no kind of data"),
    };
    let seed: u64 = seed.parse().expect("a seed");
    let mut bytes = Vec::with_capacity(len + 8);
    for index in 0..len.div_ceil(size) as u64 {
        let h = mix(seed.wrapping_mul(0x100_0000_01b3).wrapping_add(index));
        let x = mix(h);
        let value = match h & 3 {
            0 | 1 if !edges.is_empty() => edges[((h >> 2 >> 8) % edges.len() as u64) as usize],
            2 if !edges.is_empty() => x,
            _ if mantissa == 0 => x % 100,
            _ => {
                let exponent = bias - 2 + (x >> 48) % 5;
                (x >> 63) << (8 * size - 1) | exponent << mantissa | x & ((1 << mantissa) - 1)
            }
        };
        bytes.extend_from_slice(&value.to_le_bytes()[..size]);
    }
    bytes.truncate(len);
    bytes
}

/// Reads runs: a number of bytes, these, a number of repetitions, the byte that is repeated.
fn unpack(packed: &mut &[u8], len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let (head, rest) = packed.split_at(2);
        let literal = usize::from(u16::from_le_bytes([head[0], head[1]]));
        bytes.extend_from_slice(&rest[..literal]);
        let rest = &rest[literal..];
        let repeated = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
        bytes.resize(bytes.len() + repeated, rest[2]);
        *packed = &rest[3..];
    }
    assert_eq!(bytes.len(), len);
    bytes
}

/// The parameters of a launch.
#[derive(Default)]
struct Params(Vec<u8>);

impl Params {
    fn add(mut self, bytes: &[u8]) -> Params {
        let align = if bytes.len() == 128 { 64 } else { bytes.len() };
        self.0.resize(self.0.len().next_multiple_of(align), 0);
        self.0.extend_from_slice(bytes);
        self
    }
}

/// What the machine gives for a case: the bytes that the GPU was asked for.
fn on_the_machine(case: &Case<'_>, kernel: &Kernel, options: &Options) -> Result<Vec<u8>, String> {
    let dump = case.number("dump") as usize;
    let global_len = case.number("gdump") as usize;
    let (source, mut target): (Vec<u8>, Vec<u8>);
    let mut cluster = 1;
    let mut from = 0;
    let to;
    let number = |key: &str| (case.number(key) as u32).to_le_bytes();
    let coordinates = |mut params: Params| {
        for value in case.list("at") {
            params = params.add(&(value as i32).to_le_bytes());
        }
        params
    };
    let mut memory = Memory::new();
    let params = match case.kind {
        "load" | "multi" => {
            source = bytes_of(case.keys["data"], 128 << 10);
            let blocks = if case.kind == "multi" { 4 } else { 1 };
            cluster = blocks as u32;
            target = vec![0; blocks * 4096.max(dump + 4)];
            to = dump;
            let x = memory.input("x", &source);
            let y = memory.output("y", &mut target);
            let map =
                case.map(x + case.number("base")).encode().map_err(|error| format!("refused: {error}"))?;
            let params = Params::default().add(&map).add(&y.to_le_bytes());
            let params = coordinates(params.add(&number("dump")).add(&number("tx")).add(&number("off")));
            if case.kind == "multi" { params.add(&number("mask")) } else { params }
        }
        "store" => {
            source = bytes_of(case.keys["data"], dump);
            target = bytes_of(case.keys["before"], global_len);
            to = global_len;
            let x = memory.input("x", &source);
            let y = memory.inout("y", &mut target);
            let map =
                case.map(y + case.number("base")).encode().map_err(|error| format!("refused: {error}"))?;
            let params = Params::default().add(&map).add(&x.to_le_bytes());
            coordinates(params.add(&number("dump")).add(&number("off")))
        }
        "bulk" | "remote" => {
            cluster = if case.kind == "remote" { 2 } else { 1 };
            source = bytes_of(case.keys["data"], cluster as usize * dump);
            target = bytes_of(case.keys["before"], global_len + 4);
            to = global_len;
            let x = memory.input("x", &source);
            let y = memory.inout("y", &mut target);
            Params::default().add(&x.to_le_bytes()).add(&number("dump")).add(&y.to_le_bytes())
        }
        "replace" => {
            let map = TensorMap::new(
                TensorMapType::F16,
                0x7f12_3456_7000,
                &[256, 64, 20, 10, 5],
                &[512, 32_768, 655_360, 6_553_600],
                &[64, 8, 2, 2, 1],
            );
            target = map.encode().map_err(|error| error.to_string())?.to_vec();
            target.resize(256, 0);
            from = 128;
            to = 256;
            let y = memory.inout("y", &mut target);
            Params::default().add(&y.to_le_bytes()).add(&case.number("value").to_le_bytes())
        }
        other => return Err(format!("`{other}` is no kind of case")),
    };
    let mut launch =
        Launch::new([cluster, 1, 1], [if case.kind == "replace" { 32 } else { 128 }, 1, 1], params.0);
    launch.cluster = [cluster, 1, 1];
    launch.shared_bytes = dump as u32 + 256;
    run(kernel, &launch, &mut memory, options).map_err(|stop| match stop {
        Stop::Fault(fault) => format!("{}: {fault}", fault.kind),
        other @ Stop::Machine(_) => other.to_string(),
    })?;
    drop(memory);
    if case.kind == "multi" {
        return Ok((0..4).flat_map(|block| target[4096 * block..][..dump].to_vec()).collect());
    }
    Ok(target[from..to].to_vec())
}

#[test]
fn copies_are_those_of_the_gpu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/tma");
    let text = std::fs::read_to_string(folder.join("copies.ptx")).expect("the kernels are there");
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let cases = std::fs::read_to_string(folder.join("cases.txt")).expect("the cases are there");
    let answers = std::fs::read(folder.join("answers.bin")).expect("the answers are there");
    let mut answers = answers.as_slice();
    let mut kernels: HashMap<&str, Kernel> = HashMap::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.starts_with('#')) {
        let case = Case::read(line);
        count += 1;
        let expected = match case.keys["answer"] {
            "refused" => Err("refused"),
            "misaligned" => Err("misaligned"),
            "undefined_operand" => Err("undefined_operand"),
            len => Ok(unpack(&mut answers, len.parse().expect("a length"))),
        };
        let actual = if case.kind == "encode" {
            case.map(case.number("addr"))
                .encode()
                .map(|map| map.to_vec())
                .map_err(|error| format!("refused: {error}"))
        } else {
            let kernel = kernels.entry(case.keys["entry"]).or_insert_with(|| {
                Kernel::new(&module, case.keys["entry"]).unwrap_or_else(|error| panic!("{error}"))
            });
            let options = Options { seed: count, instruction_budget: 1_000_000, ..Options::default() };
            on_the_machine(&case, kernel, &options)
        };
        let verdict = match (&actual, &expected) {
            (Ok(actual), Ok(expected)) if actual == expected => continue,
            (Err(actual), Err(expected)) if actual.starts_with(expected) => continue,
            (Ok(actual), Ok(expected)) => {
                let at = actual.iter().zip(expected).position(|(a, e)| a != e).unwrap_or(0);
                let end = (at + 16).min(actual.len());
                let wrong = actual.iter().zip(expected).filter(|(a, e)| a != e).count();
                format!(
                    "{wrong} bytes differ, from byte {at} on: {:02x?}, the GPU has {:02x?}",
                    &actual[at..end],
                    &expected[at..end]
                )
            }
            (Ok(_), Err(expected)) => format!("ran, the GPU says `{expected}`"),
            (Err(actual), _) => actual.clone(),
        };
        failures.push(format!("{}: {verdict}", case.name));
    }
    assert!(answers.is_empty(), "{} bytes of answers are left", answers.len());
    assert!(count > 200, "only {count} cases");
    assert!(failures.is_empty(), "{count} cases, {} are wrong:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn modes_that_are_not_run_are_named() {
    let forms = [
        (
            "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r0], [%rd0, {%r1, %r1, %r1, %r1}], [%r0], {%rs0, %rs0}",
            "im2col",
        ),
        (
            "cp.async.bulk.tensor.2d.shared::cta.global.tile::gather4.mbarrier::complete_tx::bytes [%r0], [%rd0, {%r1, %r1, %r1, %r1, %r1}], [%r0]",
            "tile::gather4",
        ),
        (
            "cp.async.bulk.tensor.2d.global.shared::cta.tile::scatter4.bulk_group [%rd0, {%r1, %r1, %r1, %r1, %r1}], [%r0]",
            "tile::scatter4",
        ),
        (
            "cp.reduce.async.bulk.global.shared::cta.bulk_group.min.f32 [%rd0], [%r0], %r1",
            "this reduction of this type",
        ),
        ("cp.async.bulk.wait_group %r1", "a constant number of groups"),
    ];
    for (form, needs) in forms {
        let text = format!(
            ".version 8.6\n.target sm_100a\n.address_size 64\n.visible .entry k()\n{{\n.reg .b16 %rs<2>;\n.reg .b32 %r<2>;\n.reg .b64 %rd<2>;\n{form};\nret;\n}}\n"
        );
        let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{form}: {error}"));
        let error = Kernel::new(&module, "k").err().unwrap_or_else(|| panic!("`{form}` decodes")).to_string();
        assert!(error.contains(needs) && error.contains("line 9"), "{error}");
    }
}
