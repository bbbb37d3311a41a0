//! What nvcc makes of ordinary CUDA C++, run with every check, against results computed here.

use std::path::Path;

use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};
use half::{bf16, f16};

/// An argument of a kernel.
#[derive(Clone)]
enum Argument {
    In(Vec<u8>),
    /// Bytes before the launch, or how many the kernel is to write.
    InOut(Vec<u8>),
    Out(usize),
    Value(Vec<u8>),
}

use Argument::{In, InOut, Out, Value};

/// Bytes of numbers.
macro_rules! bytes {
    ($values:expr) => {
        $values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
    };
}

/// Numbers of bytes.
macro_rules! numbers {
    ($ty:ty, $bytes:expr) => {
        $bytes
            .chunks_exact(size_of::<$ty>())
            .map(|chunk| <$ty>::from_le_bytes(chunk.try_into().expect("a whole number")))
            .collect::<Vec<$ty>>()
    };
}

/// Runs an entry of a corpus file; what every argument holds behind it.
fn launch(
    file: &str,
    entry: &str,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    arguments: Vec<Argument>,
) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/nvcc").join(file);
    let text = std::fs::read_to_string(path).expect("the program is there");
    let module = factory_ptx::parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let kernel = Kernel::new(&module, entry).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut results = Vec::new();
    for (seed, threads) in [(0, 1), (5, 2)] {
        let mut storage: Vec<Vec<u8>> = arguments
            .iter()
            .map(|argument| match argument {
                In(bytes) | InOut(bytes) | Value(bytes) => bytes.clone(),
                Out(len) => vec![0xcd; *len],
            })
            .collect();
        {
            let mut memory = Memory::new();
            let mut params = vec![0; kernel.params_size()];
            let mut outputs = Vec::new();
            assert_eq!(arguments.len(), kernel.params().len(), "{entry}");
            for (index, (bytes, (argument, param))) in
                storage.iter_mut().zip(arguments.iter().zip(kernel.params())).enumerate()
            {
                let name = format!("argument {index}");
                let value = match argument {
                    Value(value) => value.clone(),
                    In(_) => memory.input(&name, bytes).to_le_bytes().to_vec(),
                    InOut(_) => memory.inout(&name, bytes).to_le_bytes().to_vec(),
                    Out(_) => {
                        let address = memory.output(&name, bytes);
                        outputs.push(address);
                        address.to_le_bytes().to_vec()
                    }
                };
                assert_eq!(value.len(), param.size, "{entry}: `{}`", param.name);
                params[param.offset..param.offset + param.size].copy_from_slice(&value);
            }
            let launch = Launch { grid, block, cluster: [1, 1, 1], shared_bytes, params };
            let options = Options { seed, threads, ..Options::default() };
            run(&kernel, &launch, &mut memory, &options).unwrap_or_else(|stop| panic!("{entry}: {stop}"));
            for address in outputs {
                assert_eq!(memory.unwritten(address), None, "{entry} leaves bytes unwritten");
            }
        }
        results.push(storage);
    }
    // Neither the order of blocks nor the number of host threads may show.
    let second = results.pop();
    let first = results.pop().expect("two runs were made");
    assert_eq!(Some(&first), second.as_ref(), "{entry} depends on the order of execution");
    first
}

/// A fixed pseudo-random stream of integers from -range to range.
fn stream(seed: u64, count: usize, range: i64) -> Vec<i64> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64 % (2 * range + 1) - range
        })
        .collect()
}

#[track_caller]
fn close(actual: f64, expected: f64, relative: f64, what: &str) {
    let error = (actual - expected).abs();
    assert!(error <= relative * expected.abs().max(1e-3), "{what}: {actual:e}, {expected:e} was expected");
}

#[test]
fn reductions() {
    // Integers as f32: their sum is exact in any order.
    let x: Vec<f32> = stream(1, 1000, 50).into_iter().map(|value| value as f32).collect();
    let arguments = || vec![In(bytes!(x)), InOut(bytes!([0.0f32])), Value(bytes!([1000i32]))];
    let results = launch("reduce.sm_90.ptx", "sum_f32", [3, 1, 1], [128, 1, 1], 0, arguments());
    assert_eq!(numbers!(f32, results[1]), [x.iter().sum::<f32>()]);
    let debug = launch("reduce.sm_90.debug.ptx", "sum_f32", [2, 1, 1], [64, 1, 1], 0, arguments());
    assert_eq!(numbers!(f32, debug[1]), [x.iter().sum::<f32>()]);

    let x: Vec<f64> = stream(2, 3 * 100, 1 << 40).into_iter().map(|value| value as f64 / 3.0).collect();
    let arguments = vec![In(bytes!(x)), Out(3 * 8), Value(bytes!([100i64]))];
    let results = launch("reduce.sm_90.ptx", "max_f64", [3, 1, 1], [64, 1, 1], 64 * 8, arguments);
    let expected: Vec<f64> =
        x.chunks(100).map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
    assert_eq!(numbers!(f64, results[1]), expected);

    let x: Vec<u64> =
        stream(3, 77, 1 << 30).into_iter().map(|value| ((value + (1 << 30)) as u64) << 20).collect();
    let least = (0..77u32).min_by_key(|index| x[*index as usize]).expect("there are some");
    let arguments = vec![In(bytes!(x)), Out(4), Value(bytes!([77u32]))];
    let results = launch("reduce.sm_90.ptx", "argmin_u64", [1, 1, 1], [32, 1, 1], 0, arguments);
    assert_eq!(numbers!(u32, results[1]), [least]);

    let x: Vec<i32> = stream(4, 32, 1 << 20).into_iter().map(|value| value as i32).collect();
    let results =
        launch("reduce.sm_90.ptx", "redux", [1; 3], [32, 1, 1], 0, vec![In(bytes!(x)), Out(96 * 4)]);
    let results = numbers!(i32, results[1]);
    let expected = [
        x.iter().sum::<i32>(),
        x.iter().copied().max().expect("there are some"),
        x.iter().fold(0, |sum, value| sum ^ value),
    ];
    for (row, expected) in results.chunks(32).zip(expected) {
        assert_eq!(row, [expected; 32]);
    }
}

#[test]
fn shared_tiles() {
    let (m, n, k) = (19usize, 35, 21);
    let integers =
        |seed, count| -> Vec<f32> { stream(seed, count, 9).into_iter().map(|value| value as f32).collect() };
    let (a, b) = (integers(5, m * k), integers(6, k * n));
    let size = |value: usize| Value(bytes!([value as i32]));
    let arguments = vec![In(bytes!(a)), In(bytes!(b)), Out(m * n * 4), size(m), size(n), size(k)];
    let results = launch("tile.sm_90.ptx", "matmul", [3, 2, 1], [16, 16, 1], 0, arguments);
    let c = numbers!(f32, results[2]);
    for row in 0..m {
        for column in 0..n {
            let expected: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
            assert_eq!(c[row * n + column], expected, "c[{row}, {column}]");
        }
    }

    let (rows, columns) = (13usize, 10);
    let x: Vec<u128> = (0..rows * columns).map(|index| (index as u128) << 77 | 5).collect();
    let arguments = vec![In(bytes!(x)), Out(x.len() * 16), size(rows), size(columns)];
    let results = launch("tile.sm_90.ptx", "transpose", [2, 2, 1], [8, 8, 1], 0, arguments);
    let y = numbers!(u128, results[1]);
    for row in 0..rows {
        for column in 0..columns {
            assert_eq!(y[column * rows + row], x[row * columns + column]);
        }
    }
}

#[test]
fn halves() {
    let n = 70;
    let half = |seed| -> Vec<f16> {
        stream(seed, n, 4000).into_iter().map(|value| f16::from_f64(value as f64 / 1000.0)).collect()
    };
    let (a, b) = (half(7), half(8));
    let arguments = vec![In(bytes!(a)), In(bytes!(b)), Out(n * 2), Value(bytes!([n as i32]))];
    let results = launch("half.sm_90.ptx", "half_ops", [3, 1, 1], [32, 1, 1], 0, arguments);
    // Each operation rounds to f16; f64 holds the exact result of each.
    let round = |value: f64| f16::from_f64(value).to_f64();
    for (index, actual) in numbers!(f16, results[2]).into_iter().enumerate() {
        let (x, y) = (a[index].to_f64(), b[index].to_f64());
        let mut z = round(x.mul_add(y, round(x * 0.5))).max(-y);
        if x > y {
            z = round(round(x - y).exp2());
        }
        let expected = round((z + round(x / round(y + 1.0))).clamp(0.0, 1.0));
        // hexp2 and hdiv of the toolkit may be one unit of f16 off, before a sum of which little may remain.
        let unit = 2.0 * f64::exp2(-10.0) * (z.abs() + (x / (y + 1.0)).abs());
        assert!((actual.to_f64() - expected).abs() <= unit, "half_ops({x}, {y}) = {actual}, not {expected}");
    }

    let pairs: Vec<[bf16; 2]> = stream(9, 2 * n, 3000)
        .chunks(2)
        .map(|pair| [bf16::from_f64(pair[0] as f64 / 512.0), bf16::from_f64(pair[1] as f64 / 512.0)])
        .collect();
    let factors: Vec<f32> = stream(10, 2 * n, 3000).into_iter().map(|value| value as f32 / 777.0).collect();
    let arguments =
        vec![In(bytes!(pairs.as_flattened())), In(bytes!(factors)), Out(n * 4), Value(bytes!([n as i32]))];
    let results = launch("half.sm_90.ptx", "bf16_ops", [3, 1, 1], [32, 1, 1], 0, arguments);
    let round = |value: f64| bf16::from_f64(value).to_f64();
    for (index, actual) in numbers!(bf16, results[2]).chunks(2).enumerate() {
        let a = pairs[index].map(bf16::to_f64);
        let [u, v] = [factors[2 * index], factors[2 * index + 1]];
        // nvcc contracts the product and the sum.
        let packed =
            [round(f64::from((a[0] as f32).mul_add(u, 1.0))), round(f64::from((a[1] as f32).max(v)))];
        for lane in 0..2 {
            let fused = round(packed[lane].mul_add(a[lane], round(a[lane] * packed[lane])));
            let expected = round(fused.max(-a[lane]) - 0.25).abs();
            assert_eq!(actual[lane].to_f64(), expected, "bf16_ops at {index}, {lane}");
        }
    }

    let x: Vec<f32> = stream(11, 32, 1 << 20).into_iter().map(|value| value as f32 / 9000.0).collect();
    let arguments = vec![In(bytes!(x)), Out(64), Out(64), Out(128), Out(32), Out(256)];
    let results = launch("half.sm_90.ptx", "convert", [1; 3], [32, 1, 1], 0, arguments);
    let (h, b) = (numbers!(f16, results[1]), numbers!(bf16, results[2]));
    let (s, l) = (numbers!(i32, results[3]), numbers!(i64, results[5]));
    for (index, x) in x.iter().copied().enumerate() {
        let nearest = f16::from_f32(x);
        let zero =
            if nearest.to_f32().abs() > x.abs() { f16::from_bits(nearest.to_bits() - 1) } else { nearest };
        assert_eq!(h[index], zero, "rz of {x}");
        assert_eq!(b[index], bf16::from_f32(x));
        assert_eq!(s[index], x.ceil() as i32 + zero.to_f32().floor() as i32);
        assert_eq!(l[index], x as i64 + (f64::from(x) * 3.0).round_ties_even() as i64);
    }
}

#[test]
fn atomics() {
    let x: Vec<u8> = stream(12, 5000, 127).into_iter().map(|value| (value + 127) as u8).collect();
    let arguments = vec![In(x.clone()), InOut(bytes!([1u32; 256])), Value(bytes!([5000i32]))];
    let results = launch("atomics.sm_90.ptx", "histogram", [4, 1, 1], [96, 1, 1], 0, arguments);
    let mut expected = [1u32; 256];
    x.iter().for_each(|value| expected[usize::from(*value)] += 1);
    assert_eq!(numbers!(u32, results[1]), expected);

    let partial: Vec<f32> = (0..7).map(|value| value as f32 * 1.5).collect();
    let results = launch(
        "atomics.sm_90.ptx",
        "last_block",
        [7, 1, 1],
        [64, 1, 1],
        0,
        vec![In(bytes!(partial)), Out(4)],
    );
    assert_eq!(numbers!(f32, results[1]), [31.5]);
}

#[test]
fn warps() {
    // Shuffles read only lanes of their own branch: lanes 0-7 and 16-23 hold even numbers, the others odd ones.
    let x: Vec<i32> = stream(13, 32, 2)
        .into_iter()
        .enumerate()
        .map(|(lane, value)| 2 * value as i32 + (lane as i32 >> 3 & 1))
        .collect();
    let results =
        launch("warp.sm_90.ptx", "votes", [1; 3], [32, 1, 1], 0, vec![In(bytes!(x)), Out(32 * 6 * 4)]);
    let bits =
        |test: &dyn Fn(usize) -> bool| (0..32).filter(|lane| test(*lane)).fold(0u32, |m, lane| m | 1 << lane);
    for (lane, row) in numbers!(u32, results[1]).chunks(6).enumerate() {
        let odd = x[lane] & 1 != 0;
        assert_eq!(row[0], bits(&|other| x[other] > 0));
        assert_eq!(row[1], u32::from(x.contains(&3)) + 2);
        assert_eq!(row[2], bits(&|other| x[other] == x[lane]));
        assert_eq!(row[3], 0);
        assert_eq!(row[4], u32::MAX);
        let source = match (odd, lane % 8) {
            (true, 0) => lane,
            (true, _) => lane - 1,
            _ => lane / 16 * 16 + 5,
        };
        assert_eq!(row[5], x[source] as u32, "lane {lane}");
    }

    let x: Vec<i32> = (0..64).map(|value| value % 5).collect();
    let results = launch(
        "warp.sm_90.ptx",
        "groups",
        [1; 3],
        [32, 1, 1],
        0,
        vec![In(bytes!(x)), InOut(vec![0; 128 * 4])],
    );
    let results = numbers!(i32, results[1]);
    let sums: Vec<i32> = x[..32].chunks(8).map(|group| group.iter().sum()).collect();
    assert_eq!(results[..4], sums);
    assert_eq!(results[32], 32);
    let everywhere = sums.iter().filter(|sum| **sum > 3).count() as i32 * 8
        + i32::from(sums.contains(&5))
        + i32::from(sums.iter().all(|sum| *sum != 0));
    assert_eq!(results[64..96], [everywhere; 32]);
}

#[test]
fn integers() {
    let n = 50usize;
    let a: Vec<i64> =
        stream(14, n, i64::MAX >> 32).into_iter().map(|value| value.wrapping_mul(0x1_2345_6789)).collect();
    let b: Vec<u64> =
        stream(15, n, i64::MAX >> 32).into_iter().map(|value| value as u64 >> 20 ^ 0x55).collect();
    let arguments = vec![In(bytes!(a)), In(bytes!(b)), Out(n * 64), Value(bytes!([n as i32]))];
    let results = launch("integers.sm_90.ptx", "wide", [2, 1, 1], [32, 1, 1], 0, arguments);
    for (index, row) in numbers!(i64, results[2]).chunks(8).enumerate() {
        let (x, y) = (a[index], b[index] | 1);
        let signed = y as i64;
        let find_first = if x == 0 { 0 } else { i64::from(x.trailing_zeros()) + 1 };
        let expected = [
            x.wrapping_div(signed),
            (x as u64 % y) as i64,
            ((i128::from(x) * i128::from(signed)) >> 64) as i64,
            ((u128::from(x as u64) * u128::from(y)) >> 64) as i64,
            x.wrapping_shl(y as u32 & 63) ^ (x >> (y & 31)),
            i64::from(y.count_ones()) + i64::from(x.leading_zeros()) + find_first,
            (y.reverse_bits() as i64).wrapping_add(i64::from(x as i32) * i64::from(y as i32)),
            x.wrapping_abs().wrapping_add(x.max(signed)).wrapping_sub((x as u64).min(y) as i64),
        ];
        assert_eq!(row, expected, "wide({x}, {y})");
    }

    let x: Vec<u64> = stream(16, 64, i64::MAX >> 32)
        .into_iter()
        .map(|value| (value as u64).wrapping_mul(0xdead_beef))
        .collect();
    let results =
        launch("integers.sm_90.ptx", "wide128", [1; 3], [32, 1, 1], 0, vec![In(bytes!(x)), Out(32 * 8)]);
    for (index, actual) in numbers!(u64, results[1]).into_iter().enumerate() {
        let (a, b) = (u128::from(x[index]), u128::from(x[index + 32]));
        let c = a.wrapping_mul(b).wrapping_add(a << 64).wrapping_sub(b);
        assert_eq!(actual, ((c >> 64) as u64).wrapping_add(c as u64));
    }
}

#[test]
fn device_functions() {
    let fibonacci = |n: usize| [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89][n];
    for file in ["functions.sm_90.ptx", "functions.sm_90.debug.ptx"] {
        let results = launch(file, "recursive", [1; 3], [40, 1, 1], 0, vec![Out(160)]);
        let expected: Vec<i32> = (0..40).map(|thread| fibonacci(thread % 12)).collect();
        assert_eq!(numbers!(i32, results[0]), expected, "{file}");

        let which: Vec<i32> = stream(17, 40, 5).into_iter().map(|value| value as i32).collect();
        let results = launch(file, "indirect", [1; 3], [40, 1, 1], 0, vec![In(bytes!(which)), Out(160)]);
        let expected: Vec<i32> =
            (0..40).map(|i| if which[i as usize] & 1 == 0 { i + 3 } else { i * 3 }).collect();
        assert_eq!(numbers!(i32, results[1]), expected, "{file}");

        // A struct by value: two corners, a tag, padding, a weight.
        let mut corners = bytes!([-1.0f32, -2.0, -3.0, 1.0, 2.0, 3.0]);
        corners.extend(bytes!([-7i32, 0]));
        corners.extend(bytes!([0.25f64]));
        let points: Vec<f32> = stream(18, 40 * 3, 7).into_iter().map(|value| value as f32).collect();
        let arguments =
            vec![Value(corners[..40].to_vec()), In(bytes!(points)), Out(160), Value(bytes!([40i32]))];
        let results = launch(file, "boxes", [2, 1, 1], [32, 1, 1], 0, arguments);
        for (index, actual) in numbers!(f32, results[2]).into_iter().enumerate() {
            let p: Vec<f32> = points[3 * index..][..3].iter().map(|value| value * 0.5).collect();
            let inside = p.iter().zip([1.0, 2.0, 3.0]).all(|(value, limit)| value.abs() <= limit);
            let expected = if inside { p[0] + p[1] * 2.0 + p[2] * 3.0 + 0.25 } else { -7.0 };
            assert_eq!(actual, expected, "{file}: {p:?}");
        }
    }
}

#[test]
fn rows_and_functions() {
    let (rows, n) = (3usize, 520usize);
    let x: Vec<bf16> =
        stream(19, rows * n, 300).into_iter().map(|value| bf16::from_f32(value as f32 / 64.0)).collect();
    let w: Vec<f32> = stream(20, n, 100).into_iter().map(|value| value as f32 / 50.0).collect();
    let arguments = vec![
        In(bytes!(x)),
        In(bytes!(w)),
        Out(rows * n * 2),
        Value(bytes!([n as i32])),
        Value(bytes!([1e-5f32])),
    ];
    let results = launch("rows.sm_90.ptx", "rmsnorm", [rows as u32, 1, 1], [64, 1, 1], 0, arguments);
    for (row, actual) in numbers!(bf16, results[2]).chunks(n).enumerate() {
        let x = &x[row * n..][..n];
        let mean = x.iter().map(|value| value.to_f64().powi(2)).sum::<f64>() / n as f64;
        let factor = 1.0 / (mean + 1e-5).sqrt();
        for column in 0..n {
            let expected = x[column].to_f64() * factor * f64::from(w[column]);
            close(actual[column].to_f64(), expected, 1.0 / 250.0, "rmsnorm");
        }
    }

    let x: Vec<f32> = stream(21, rows * n, 900).into_iter().map(|value| value as f32 / 100.0).collect();
    let arguments = vec![In(bytes!(x)), Out(rows * n * 4), Value(bytes!([n as i32]))];
    let results = launch("rows.sm_90.ptx", "softmax", [rows as u32, 1, 1], [96, 1, 1], 0, arguments);
    for (row, actual) in numbers!(f32, results[1]).chunks(n).enumerate() {
        let x = &x[row * n..][..n];
        let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = x.iter().map(|value| f64::from(value - top).exp()).sum();
        for column in 0..n {
            let expected = f64::from(x[column] - top).exp() / sum;
            assert!((f64::from(actual[column]) - expected).abs() <= 1e-5 * expected, "softmax");
        }
    }

    let x: Vec<f64> = stream(22, 64, 4000).into_iter().map(|value| value as f64 / 1234.5).collect();
    let arguments = vec![In(bytes!(x)), Out(64 * 24), Value(bytes!([64i32]))];
    let results = launch("maths.sm_90.ptx", "doubles", [2, 1, 1], [32, 1, 1], 0, arguments);
    for (x, row) in x.iter().copied().zip(numbers!(f64, results[1]).chunks(3)) {
        let first = x.exp() * x.abs().sqrt() + x / 3.0 + x.mul_add(x, 1.0) + 1.0 / (x * x + 1.0).sqrt();
        close(row[0], first, 1e-13, "doubles 0");
        let second = (x.abs() + 1e-3).ln() + x.floor() - (x + 0.1) + x * x;
        assert!((row[1] - second).abs() < 1e-12 * (1.0 + x * x), "doubles 1");
        assert_eq!(row[2], f64::from(x as f32) + f64::from(x as i32) + x.abs().trunc(), "doubles 2");
    }
}

#[test]
fn control_flow() {
    let n = 45usize;
    let operation: Vec<i32> = (0..n as i32).map(|index| index % 12).collect();
    let x: Vec<i32> = stream(23, n, 30000).into_iter().map(|value| value as i32).collect();
    let arguments = [In(bytes!(operation)), In(bytes!(x)), Out(n * 4), Value(bytes!([n as i32]))];
    for file in ["control.sm_90.ptx", "control.sm_90.debug.ptx"] {
        let results = launch(file, "dispatch", [2, 1, 1], [32, 1, 1], 0, arguments.to_vec());
        for (index, actual) in numbers!(i32, results[2]).into_iter().enumerate() {
            let v = x[index];
            let expected = match operation[index] {
                0 => v + 1,
                1 => v.wrapping_mul(v),
                2 => v / 7,
                3 => v % 5,
                4 => v.count_ones() as i32,
                5 => v.leading_zeros() as i32,
                6 => v.reverse_bits(),
                7 => {
                    if v == 0 {
                        0
                    } else {
                        v.trailing_zeros() as i32 + 1
                    }
                }
                8 => -v,
                9 => v ^ 0x55,
                _ => 0,
            };
            assert_eq!(actual, expected, "{file}: operation {} of {v}", operation[index]);
        }
        let arguments = vec![In(bytes!(x)), Out(32 * 64), Value(bytes!([n as i32]))];
        let results = launch(file, "local_array", [1; 3], [32, 1, 1], 0, arguments);
        for (thread, actual) in numbers!(i32, results[1]).chunks(16).enumerate() {
            let mut sorted: Vec<i32> = (0..16).map(|i| x[(thread + i) % n]).collect();
            sorted.sort_unstable();
            sorted.rotate_left(thread & 15);
            assert_eq!(actual, sorted, "{file}: thread {thread}");
        }
        let starts: Vec<u32> = (0..n as u32).map(|value| value * 3).collect();
        let arguments = vec![In(bytes!(starts)), Out(n * 4), Value(bytes!([n as i32]))];
        let results = launch(file, "collatz", [2, 1, 1], [32, 1, 1], 0, arguments);
        for (start, actual) in starts.iter().zip(numbers!(u32, results[1])) {
            let (mut v, mut count) = (*start, 0);
            while v > 1 {
                v = if v & 1 != 0 { 3 * v + 1 } else { v >> 1 };
                count += 1;
            }
            assert_eq!(actual, count, "{file}: {start}");
        }
    }
}
