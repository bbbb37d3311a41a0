//! RMSNorm from a sealed kernel: the build needs no network, no GPU and no CUDA.
//!
//! The kernel lies in `kernels/rmsnorm/`, found by the spec's key. On a machine with an NVIDIA GPU it runs
//! there; on any other it runs on the PTX machine. `KERNEL_FACTORY_DEVICE=machine` chooses by hand.

use factory_runtime::{Device, Tensor, bf16, kernel_factory};

/// Root-mean-square normalisation of each row of `x`, scaled by `w`.
#[kernel_factory(spec = "kernels/rmsnorm.toml")]
pub fn rmsnorm(x: &Tensor<bf16>, w: &Tensor<f32>, y: &mut Tensor<bf16>, eps: f32);

const ROWS: usize = 4;
const COLUMNS: usize = 1024;
const EPS: f32 = 1e-6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::best()?;
    println!("device   {}", device.description());
    println!("kernel   {} {}", rmsnorm::NAME, &rmsnorm::KEY[..12]);
    println!("passed   {}", rmsnorm::GATES_PASSED.join(", "));
    println!("not run  {}", rmsnorm::GATES_NOT_RUN.join(", "));

    let x: Vec<bf16> = (0..ROWS * COLUMNS).map(|i| bf16::from_f32(wave(i))).collect();
    let w: Vec<f32> = (0..COLUMNS).map(|i| 1.0 + 0.5 * wave(3 * i + 1)).collect();

    let x_on_device = Tensor::from_slice(&device, &x, &[ROWS, COLUMNS])?;
    let w_on_device = Tensor::from_slice(&device, &w, &[COLUMNS])?;
    let mut y = Tensor::zeros(&device, &[ROWS, COLUMNS])?;
    rmsnorm(&x_on_device, &w_on_device, &mut y, EPS)?;
    let y: Vec<bf16> = y.to_vec()?;

    for row in 0..ROWS {
        let values: Vec<String> = (0..4).map(|i| format!("{:8.4}", y[row * COLUMNS + i].to_f32())).collect();
        println!("y[{row}]     {} …", values.join(" "));
    }

    let error = relative_error(&x, &w, &y);
    println!("relative L2 error against f64: {error:.2e}");
    // Half a unit in the last place of bf16 is 2^-9, about 2e-3.
    if error.is_nan() || error > 4e-3 {
        return Err(format!("the kernel's answer is off by {error:.2e}").into());
    }
    Ok(())
}

/// A cheap deterministic signal in [-1, 1) without structure along a row.
fn wave(i: usize) -> f32 {
    let hash = (i as u32).wrapping_mul(2_654_435_761) >> 8;
    hash as f32 / (1 << 23) as f32 - 1.0
}

/// The error of `y` against the same formula in f64, in relative L2.
fn relative_error(x: &[bf16], w: &[f32], y: &[bf16]) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (x, y) in x.chunks(COLUMNS).zip(y.chunks(COLUMNS)) {
        let mean_square = x.iter().map(|v| v.to_f64().powi(2)).sum::<f64>() / COLUMNS as f64;
        let scale = 1.0 / (mean_square + f64::from(EPS)).sqrt();
        for ((x, w), y) in x.iter().zip(w).zip(y) {
            let expected = x.to_f64() * scale * f64::from(*w);
            difference += (y.to_f64() - expected).powi(2);
            norm += expected.powi(2);
        }
    }
    (difference / norm).sqrt()
}
