//! A fused kernel that nobody wrote and that is not sealed: the first `cargo build` searches for it.
//!
//! On a machine without a GPU the search verifies candidates on the PTX machine and orders them by a model; on a
//! machine with one it also checks and times them there. The winner lands in the user's cache, so the next build
//! takes it from there.

use factory_runtime::{Device, Tensor, bf16, kernel_factory};

/// Softmax over each row of `silu(a) * b + bias`.
#[kernel_factory(spec = "kernels/gated_softmax.toml")]
pub fn gated_softmax(a: &Tensor<bf16>, b: &Tensor<bf16>, bias: &Tensor<f32>, y: &mut Tensor<bf16>);

const ROWS: usize = 3;
const COLUMNS: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::best()?;
    println!("device   {}", device.description());
    println!("kernel   {} {}", gated_softmax::NAME, &gated_softmax::KEY[..12]);
    println!("passed   {}", gated_softmax::GATES_PASSED.join(", "));
    println!("not run  {}", gated_softmax::GATES_NOT_RUN.join(", "));

    let a: Vec<bf16> = (0..ROWS * COLUMNS).map(|i| bf16::from_f32(4.0 * wave(i))).collect();
    let b: Vec<bf16> = (0..ROWS * COLUMNS).map(|i| bf16::from_f32(2.0 * wave(i + 77_777))).collect();
    let bias: Vec<f32> = (0..COLUMNS).map(|i| wave(7 * i + 5)).collect();

    let a_on_device = Tensor::from_slice(&device, &a, &[ROWS, COLUMNS])?;
    let b_on_device = Tensor::from_slice(&device, &b, &[ROWS, COLUMNS])?;
    let bias_on_device = Tensor::from_slice(&device, &bias, &[COLUMNS])?;
    let mut y = Tensor::zeros(&device, &[ROWS, COLUMNS])?;
    gated_softmax(&a_on_device, &b_on_device, &bias_on_device, &mut y)?;
    let y: Vec<bf16> = y.to_vec()?;

    let mut worst = 0.0_f64;
    for row in 0..ROWS {
        let at = row * COLUMNS..(row + 1) * COLUMNS;
        let expected = reference(&a[at.clone()], &b[at.clone()], &bias);
        let sum: f64 = y[at.clone()].iter().map(|v| v.to_f64()).sum();
        println!("row {row}: sum of probabilities {sum:.4}");
        let (mut difference, mut norm) = (0.0, 0.0);
        for (y, expected) in y[at].iter().zip(&expected) {
            difference += (y.to_f64() - expected).powi(2);
            norm += expected.powi(2);
        }
        // A NaN must not hide behind `max`.
        let error = (difference / norm).sqrt();
        worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
    }
    println!("relative L2 error against f64, worst row: {worst:.2e}");
    if worst > 4e-3 {
        return Err(format!("the kernel's answer is off by {worst:.2e}").into());
    }
    Ok(())
}

/// A cheap deterministic signal in [-1, 1) without structure along a row.
fn wave(i: usize) -> f32 {
    let hash = (i as u32).wrapping_mul(2_654_435_761) >> 8;
    hash as f32 / (1 << 23) as f32 - 1.0
}

/// One row in f64.
fn reference(a: &[bf16], b: &[bf16], bias: &[f32]) -> Vec<f64> {
    let z: Vec<f64> = a
        .iter()
        .zip(b)
        .zip(bias)
        .map(|((a, b), bias)| a.to_f64() / (1.0 + (-a.to_f64()).exp()) * b.to_f64() + f64::from(*bias))
        .collect();
    let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}
