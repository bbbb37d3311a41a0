//! The forward pass.

use factory_rmsnorm::{
    Residual, Unweighted, Weighted, bf16, f16, rms_norm, rms_norm_bias, rms_norm_residual,
    rms_norm_residual_rstd, rms_norm_rstd, rms_norm_unweighted,
};

use crate::support::{Number, as_good_as_honest, error, f32_sum, tensor, values, zeros};

const EPS: f32 = 1e-6;

/// Rows and columns: edges of vectors, warps and variants, lengths that no vector divides, models' sizes.
const SIZES: [(usize, usize); 14] = [
    (3, 1),
    (5, 7),
    (4, 8),
    (33, 64),
    (67, 128),
    (2, 255),
    (9, 256),
    (3, 760),
    (2, 1024),
    (3, 4096),
    (1, 4097),
    (2, 5120),
    (2, 16384),
    (1, 65536),
];

struct Expected {
    y: Vec<f64>,
    honest: Vec<f32>,
    rstd: Vec<f64>,
    honest_rstd: Vec<f32>,
}

/// The formula in f64 and in f32. `h` is what is normalised.
fn expected(h: &[f64], h32: &[f32], w: &[f64], b: &[f64], n: usize) -> Expected {
    let mut made = Expected { y: Vec::new(), honest: Vec::new(), rstd: Vec::new(), honest_rstd: Vec::new() };
    for (row, row32) in h.chunks(n).zip(h32.chunks(n)) {
        let scale = 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / n as f64 + f64::from(EPS)).sqrt();
        let scale32 = 1.0 / (f32_sum(row32.iter().map(|x| x * x)) / n as f32 + EPS).sqrt();
        made.rstd.push(scale);
        made.honest_rstd.push(scale32);
        for column in 0..n {
            made.y.push(row[column] * scale * w[column] + b[column]);
            made.honest.push(row32[column] * scale32 * (w[column] as f32) + b[column] as f32);
        }
    }
    made
}

fn wide<T: Number>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.wide()).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn check_weighted<T: Number + Weighted<W>, W: Number>() {
    for (index, &(m, n)) in SIZES.iter().enumerate() {
        let offset = (index % 2) as f32;
        let what = format!("{m} x {n}, offset {offset}");
        let x: Vec<T> = values(1 + index as u32, m * n);
        let w: Vec<W> = values(2, n);
        let b: Vec<W> = values(3, n);
        let h = wide(&x);
        let weight: Vec<f64> = wide(&w).iter().map(|w| w + f64::from(offset)).collect();
        let (x, w, b) = (tensor(&x, &[m, n]), tensor(&w, &[n]), tensor(&b, &[n]));
        let plain = expected(&h, &narrow(&h), &weight, &vec![0.0; n], n);
        let mut y = zeros::<T>(&[m, n]);
        rms_norm(&x, &w, &mut y, EPS, offset).unwrap();
        let got = y.to_vec().unwrap();
        as_good_as_honest(&what, &got, &plain.honest, &plain.y, m);

        // The others have fewer variants, and so are tried at fewer sizes.
        if index % 3 != 0 {
            continue;
        }
        let (mut again, mut rstd) = (zeros::<T>(&[m, n]), zeros::<f32>(&[m]));
        rms_norm_rstd(&x, &w, &mut again, &mut rstd, EPS, offset).unwrap();
        as_good_as_honest(&what, &again.to_vec().unwrap(), &plain.honest, &plain.y, m);
        assert!(error(&rstd.to_vec().unwrap(), &plain.rstd) < 3e-7, "{what}");
        let biased = expected(&h, &narrow(&h), &weight, &wide(&b.to_vec().unwrap()), n);
        rms_norm_bias(&x, &w, &b, &mut y, &mut rstd, EPS, offset).unwrap();
        as_good_as_honest(&what, &y.to_vec().unwrap(), &biased.honest, &biased.y, m);
    }
}

fn check_residual<T: Number + Residual<W, R>, W: Number, R: Number>() {
    for (m, n) in [(3, 7), (5, 256), (2, 4096), (1, 16384)] {
        let what = format!("{m} x {n}");
        let (x, r): (Vec<T>, Vec<R>) = (values(4, m * n), values(5, m * n));
        let w: Vec<W> = values(6, n);
        let h: Vec<f64> = x.iter().zip(&r).map(|(x, r)| x.wide() + r.wide()).collect();
        let made = expected(&h, &narrow(&h), &wide(&w), &vec![0.0; n], n);
        let (x, r, w) = (tensor(&x, &[m, n]), tensor(&r, &[m, n]), tensor(&w, &[n]));
        let (mut y, mut sum, mut rstd) = (zeros::<T>(&[m, n]), zeros::<R>(&[m, n]), zeros::<f32>(&[m]));
        rms_norm_residual(&x, &r, &w, &mut y, &mut sum, EPS, 0.0).unwrap();
        as_good_as_honest(&what, &y.to_vec().unwrap(), &made.honest, &made.y, m);
        as_good_as_honest(&what, &sum.to_vec().unwrap(), &narrow(&h), &h, m);
        rms_norm_residual_rstd(&x, &r, &w, &mut y, &mut sum, &mut rstd, EPS, 0.0).unwrap();
        as_good_as_honest(&what, &y.to_vec().unwrap(), &made.honest, &made.y, m);
        assert!(error(&rstd.to_vec().unwrap(), &made.rstd) < 3e-7, "{what}");
    }
}

fn check_unweighted<T: Number + Unweighted>() {
    for (m, n) in [(3, 7), (5, 256), (2, 4096)] {
        let x: Vec<T> = values(7, m * n);
        let h = wide(&x);
        let made = expected(&h, &narrow(&h), &vec![1.0; n], &vec![0.0; n], n);
        let (mut y, mut rstd) = (zeros::<T>(&[m, n]), zeros::<f32>(&[m]));
        rms_norm_unweighted(&tensor(&x, &[m, n]), &mut y, &mut rstd, EPS).unwrap();
        as_good_as_honest(&format!("{m} x {n}"), &y.to_vec().unwrap(), &made.honest, &made.y, m);
        assert!(error(&rstd.to_vec().unwrap(), &made.rstd) < 3e-7);
    }
}

#[test]
fn bf16_with_f32_weights() {
    check_weighted::<bf16, f32>();
}

#[test]
fn bf16_with_bf16_weights() {
    check_weighted::<bf16, bf16>();
}

#[test]
fn f16_with_f32_weights() {
    check_weighted::<f16, f32>();
}

#[test]
fn f16_with_f16_weights() {
    check_weighted::<f16, f16>();
}

#[test]
fn f32_with_f32_weights() {
    check_weighted::<f32, f32>();
}

#[test]
fn with_a_residual() {
    check_residual::<bf16, f32, bf16>();
    check_residual::<bf16, f32, f32>();
    check_residual::<bf16, bf16, bf16>();
    check_residual::<bf16, bf16, f32>();
    check_residual::<f16, f32, f16>();
    check_residual::<f16, f32, f32>();
    check_residual::<f16, f16, f16>();
    check_residual::<f16, f16, f32>();
    check_residual::<f32, f32, f32>();
}

#[test]
fn without_a_weight() {
    check_unweighted::<bf16>();
    check_unweighted::<f16>();
    check_unweighted::<f32>();
}

#[test]
fn heads_are_rows() {
    let (tokens, heads, d) = (5, 3, 64);
    let x: Vec<bf16> = values(8, tokens * heads * d);
    let w: Vec<f32> = values(9, d);
    let (mut whole, mut flat) = (zeros::<bf16>(&[tokens, heads, d]), zeros::<bf16>(&[tokens * heads, d]));
    let (mut rstd, mut flat_rstd) = (zeros::<f32>(&[tokens, heads]), zeros::<f32>(&[tokens * heads]));
    let w = tensor(&w, &[d]);
    rms_norm_rstd(&tensor(&x, &[tokens, heads, d]), &w, &mut whole, &mut rstd, EPS, 1.0).unwrap();
    rms_norm_rstd(&tensor(&x, &[tokens * heads, d]), &w, &mut flat, &mut flat_rstd, EPS, 1.0).unwrap();
    assert_eq!(whole.to_vec().unwrap(), flat.to_vec().unwrap());
    assert_eq!(rstd.to_vec().unwrap(), flat_rstd.to_vec().unwrap());
}

#[test]
fn no_rows_are_no_work() {
    let (x, w) = (tensor::<bf16>(&[], &[0, 64]), tensor(&[1.0f32; 64], &[64]));
    let mut y = zeros::<bf16>(&[0, 64]);
    rms_norm(&x, &w, &mut y, EPS, 0.0).unwrap();
}

/// Squares of such values are far outside f16, and their sum is not outside f32.
#[test]
fn large_f16_values_do_not_overflow() {
    let x = tensor(&[f16::from_f32(30_000.0); 512], &[1, 512]);
    let w = tensor(&[f16::from_f32(2.0); 512], &[512]);
    let mut y = zeros::<f16>(&[1, 512]);
    rms_norm(&x, &w, &mut y, EPS, 0.0).unwrap();
    assert_eq!(y.to_vec().unwrap(), [f16::from_f32(2.0); 512]);
}

#[test]
fn zeros_stay_zeros() {
    let (x, w) = (zeros::<bf16>(&[2, 256]), tensor(&[1.0f32; 256], &[256]));
    let mut y = tensor(&[bf16::ONE; 512], &[2, 256]);
    rms_norm(&x, &w, &mut y, EPS, 0.0).unwrap();
    assert_eq!(y.to_vec().unwrap(), [bf16::ZERO; 512]);
}

/// Rows of `x` and `y` that are columns of longer rows: the same bits as those of copies, where the kernel is one of the same
/// kind, and what lies between the rows stays.
fn check_strided<T: Number + Weighted<W>, W: Number>() {
    // Columns of a tensor with rows of so many elements, from the first one on: aligned for vectors and not, and dense.
    for (index, &(m, n, from, whole_x, at, whole_y)) in [
        (5, 128, 128, 384, 0, 128),
        (7, 1024, 2048, 3072, 1024, 2048),
        (3, 100, 4, 301, 2, 103),
        (2, 4096, 0, 4096, 4096, 12288),
        (1, 1000, 8, 2000, 8, 1008),
    ]
    .iter()
    .enumerate()
    {
        let offset = (index % 2) as f32;
        let what = format!("{m} x {n} of {whole_x} and {whole_y}");
        let (fused, w): (Vec<T>, Vec<W>) = (values(5 + index as u32, m * whole_x), values(2, n));
        let before: Vec<T> = values(9, m * whole_y);
        let rows: Vec<T> = fused.chunks(whole_x).flat_map(|row| row[from..from + n].to_vec()).collect();
        let h = wide(&rows);
        let weight: Vec<f64> = wide(&w).iter().map(|w| w + f64::from(offset)).collect();
        let plain = expected(&h, &narrow(&h), &weight, &vec![0.0; n], n);
        let (x, w) = (tensor(&fused, &[m, whole_x]), tensor(&w, &[n]));
        let mut into = tensor(&before, &[m, whole_y]);
        let mut whole = into.view_mut();
        rms_norm(x.columns(from..from + n).unwrap(), &w, whole.columns_mut(at..at + n).unwrap(), EPS, offset)
            .unwrap();
        let after = into.to_vec().unwrap();
        let got: Vec<T> = after.chunks(whole_y).flat_map(|row| row[at..at + n].to_vec()).collect();
        as_good_as_honest(&what, &got, &plain.honest, &plain.y, m);
        for (after, before) in after.chunks(whole_y).zip(before.chunks(whole_y)) {
            assert_eq!((&after[..at], &after[at + n..]), (&before[..at], &before[at + n..]), "{what}");
        }
    }
}

#[test]
fn columns_of_one_tensor_into_columns_of_another() {
    check_strided::<bf16, f32>();
    check_strided::<bf16, bf16>();
    check_strided::<f16, f32>();
    check_strided::<f16, f16>();
    check_strided::<f32, f32>();
}

#[test]
fn heads_of_a_fused_tensor_of_any_rank() {
    // Tokens, heads, head: all heads of q, of k and of v in one tensor.
    let (tokens, heads, head) = (3, 4, 64);
    let fused: Vec<bf16> = values(4, tokens * 3 * heads * head);
    let (fused, w) = (tensor(&fused, &[tokens, 3 * heads * head]), tensor(&vec![1.0f32; head], &[head]));
    let keys = fused.columns(heads * head..2 * heads * head).unwrap();
    let whole = fused.to_vec().unwrap();
    for one in 0..heads {
        let x = keys.columns(one * head..(one + 1) * head).unwrap();
        let mut y = zeros::<bf16>(&[tokens, head]);
        rms_norm(x, &w, &mut y, EPS, 0.0).unwrap();
        let first = heads * head + one * head;
        let copied: Vec<bf16> =
            whole.chunks(3 * heads * head).flat_map(|row| row[first..first + head].to_vec()).collect();
        let (copied, mut dense) = (tensor(&copied, &[tokens, head]), zeros::<bf16>(&[tokens, head]));
        rms_norm(&copied, &w, &mut dense, EPS, 0.0).unwrap();
        let (y, dense) = (y.to_vec().unwrap(), dense.to_vec().unwrap());
        let far = y.iter().zip(&dense).map(|(a, b)| (a.wide() - b.wide()).abs()).fold(0.0, f64::max);
        assert!(far <= 0.02, "{far}");
    }
}
