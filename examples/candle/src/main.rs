//! A sealed kernel as an operation of [candle](https://github.com/huggingface/candle), on candle's own tensors.
//!
//! [`op`] is the operation, its GPU part is in `gpu.rs`. This program compares it with candle's own RMSNorm and with the
//! formula, written with candle's operations, and on a GPU times all three. `--cpu` chooses the CPU.

#[cfg(feature = "cuda")]
mod gpu;
mod op;

use std::process::ExitCode;
use std::time::Instant;

use candle_core::{D, DType, Device, Result, Tensor};
use factory_rmsnorm::bf16;
use op::rms_norm;

const EPS: f32 = 1e-6;

/// Half a unit in the last place of bf16, which one rounding may cost, and a little for sums in another order.
const LARGEST_ERROR: f64 = 1.0 / 256.0 + 1e-5;

const ON_THE_CPU: &[&[usize]] = &[&[3, 1], &[5, 1001], &[2, 3, 128], &[2, 2048], &[4, 4096]];
const ON_A_GPU: &[&[usize]] = &[
    &[1, 4096],
    &[33, 1001],
    &[16, 32, 128],
    &[128, 2048],
    &[2048, 2048],
    &[2048, 4096],
    &[2048, 8192],
    &[16384, 4096],
];

/// Each time is the median of so many, and each of those covers so many calls.
const BATCHES: usize = 31;
const CALLS: usize = 20;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("error: the sealed kernel is off by more than {LARGEST_ERROR:.2e}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the sealed kernel was right everywhere.
fn run() -> Result<bool> {
    let cpu = std::env::args().any(|argument| argument == "--cpu");
    let device = if cpu { Device::Cpu } else { Device::cuda_if_available(0)? };
    if device.is_cuda() {
        println!(
            "GPU 0: the largest relative error against the formula in f32, and the median of a call's µs\n"
        );
    } else {
        println!(
            "the CPU, where the PTX machine runs the kernel: the largest relative error against the formula in f32\n"
        );
    }
    println!("shape                   sealed            candle-nn         formula");

    let mut right = true;
    for shape in if device.is_cuda() { ON_A_GPU } else { ON_THE_CPU } {
        let n = shape.last().copied().unwrap_or(1);
        let x = drawn(1, shape, &device)?;
        let weight = drawn(2, &[n], &device)?;
        let expected = values(&formula(&x, &weight)?)?;
        let contenders: [(&str, &dyn Fn() -> Result<Tensor>); 3] = [
            ("sealed", &|| rms_norm(&x, &weight, EPS)),
            ("candle-nn", &|| candle_nn::ops::rms_norm(&x, &weight, EPS)),
            ("formula", &|| formula(&x, &weight)?.to_dtype(DType::BF16)),
        ];
        let mut line = format!("{:<22}", format!("{shape:?}"));
        for (name, contender) in contenders {
            let error = largest_error(&values(&contender()?)?, &expected);
            right &= name != "sealed" || error <= LARGEST_ERROR;
            let time =
                if device.is_cuda() { format!("{:8.2}", median(&device, contender)?) } else { String::new() };
            line += &format!("  {error:.2e}{time:8}");
        }
        println!("{}", line.trim_end());
    }
    Ok(right)
}

/// RMSNorm by candle's own operations, in f32.
fn formula(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let x = x.to_dtype(DType::F32)?;
    let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(EPS))?.sqrt()?;
    x.broadcast_div(&rms)?.broadcast_mul(&weight.to_dtype(DType::F32)?)
}

/// Random numbers in (-1, 1), the same for the same seed.
fn drawn(seed: u64, shape: &[usize], device: &Device) -> Result<Tensor> {
    let mut state = seed;
    let mut next = || {
        // SplitMix64 (Steele, Lea and Flood, 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values = (0..shape.iter().product()).map(|_| bf16::from_f32(next())).collect();
    Tensor::from_vec(values, shape, device)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// The largest relative error; infinite where an element is not a number.
fn largest_error(got: &[f32], expected: &[f32]) -> f64 {
    let error = |(got, expected): (&f32, &f32)| {
        let (got, expected) = (f64::from(*got), f64::from(*expected));
        let error = if got == expected { 0.0 } else { (got - expected).abs() / expected.abs() };
        // It must not hide behind `max`.
        if error.is_nan() { f64::INFINITY } else { error }
    };
    got.iter().zip(expected).map(error).fold(0.0, f64::max)
}

/// The median time of a call in µs as the program sees it, with the allocation of the output; the stream is kept full.
fn median(device: &Device, call: &dyn Fn() -> Result<Tensor>) -> Result<f64> {
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..CALLS {
        call()?;
    }
    for _ in 0..BATCHES {
        device.synchronize()?;
        let start = Instant::now();
        for _ in 0..CALLS {
            call()?;
        }
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[BATCHES / 2])
}
