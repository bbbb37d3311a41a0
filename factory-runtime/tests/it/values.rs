//! Kernels compute what they should, for every element type and wherever the memory comes from.

use factory_runtime::{
    ArgValue, Cache, Device, Element, Stream, Tensor, TensorMut, TensorRef, bf16, f8e4m3, f8e5m2, f16,
};

use crate::kernels::{copy, copy_through_scratch, devices, gpu, scale};

/// `x`, `w` and the expected `y` for `scale` with `s = 0.5`.
pub(crate) fn scale_values(m: usize, n: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let x: Vec<f32> = (0..m * n).map(|i| i as f32 - 7.0).collect();
    let w: Vec<f32> = (0..n).map(|i| 1.0 + i as f32).collect();
    let y = x.iter().enumerate().map(|(i, x)| x * w[i % n] * 0.5).collect();
    (x, w, y)
}

#[test]
fn tensors() {
    for device in devices() {
        let prepared = scale().seal().prepare(&device).unwrap();
        assert_eq!(prepared.target(), "sm_90");
        for (m, n) in [(1, 4), (3, 8), (5, 132)] {
            let (x, w, expected) = scale_values(m, n);
            let x = Tensor::from_slice(&device, &x, &[m, n]).unwrap();
            let w = Tensor::from_slice(&device, &w, &[n]).unwrap();
            let mut y = Tensor::<f32>::zeros(&device, &[m, n]).unwrap();
            // Twice: the second launch finds the first one's work.
            for _ in 0..2 {
                prepared
                    .launch(device.stream(), &mut [(&x).into(), (&w).into(), (&mut y).into(), 0.5f32.into()])
                    .unwrap();
            }
            assert_eq!(y.to_vec().unwrap(), expected, "{m} x {n} on {device}");
        }
    }
}

#[test]
fn more_sizes_than_are_remembered() {
    let device = Device::machine();
    let prepared = copy(f32::DTYPE).seal().prepare(&device).unwrap();
    for n in 1..150 {
        let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut y = vec![0.0f32; n];
        let args = &mut [
            TensorRef::from_slice(&x, &[n]).unwrap().into(),
            TensorMut::from_slice(&mut y, &[n]).unwrap().into(),
        ];
        prepared.launch(device.stream(), args).unwrap();
        assert_eq!(x, y);
    }
}

#[test]
fn host_slices_on_the_machine() {
    let device = Device::machine();
    let prepared = scale().seal().prepare(&device).unwrap();
    let (x, w, expected) = scale_values(2, 8);
    let mut y = vec![0.0f32; 16];
    let x = TensorRef::from_slice(&x, &[2, 8]).unwrap();
    let w = TensorRef::from_slice(&w, &[8]).unwrap();
    let mut out = TensorMut::from_slice(&mut y, &[2, 8]).unwrap();
    prepared.launch(device.stream(), &mut [(&x).into(), w.into(), (&mut out).into(), 0.5f32.into()]).unwrap();
    assert_eq!(y, expected);
}

#[test]
fn rows_of_a_tensor() {
    for device in devices() {
        let prepared = scale().seal().prepare(&device).unwrap();
        let (x, w, expected) = scale_values(4, 8);
        let x = Tensor::from_slice(&device, &x, &[4, 8]).unwrap();
        let w = Tensor::from_slice(&device, &w, &[8]).unwrap();
        let mut y = Tensor::from_slice(&device, &[-1.0f32; 32], &[4, 8]).unwrap();
        {
            let mut y = y.view_mut();
            let rows = y.rows_mut(1..3).unwrap();
            prepared
                .launch(
                    device.stream(),
                    &mut [x.rows(1..3).unwrap().into(), (&w).into(), rows.into(), 0.5f32.into()],
                )
                .unwrap();
        }
        let y = y.to_vec().unwrap();
        assert_eq!(y[8..24], expected[8..24]);
        assert!(y[..8].iter().chain(&y[24..]).all(|&value| value == -1.0), "what lies around is untouched");
    }
}

/// Strides that turn out to be those of a contiguous tensor are fine.
#[test]
fn strides_that_do_not_matter() {
    let device = Device::machine();
    let prepared = scale().seal().prepare(&device).unwrap();
    let (x, w, expected) = scale_values(1, 8);
    let mut y = vec![0.0f32; 8];
    let x = TensorRef::from_slice(&x, &[8]).unwrap().strided(&[1, 8], &[100, 1]).unwrap();
    let args = &mut [
        x.into(),
        TensorRef::from_slice(&w, &[8]).unwrap().into(),
        TensorMut::from_slice(&mut y, &[1, 8]).unwrap().into(),
        0.5f32.into(),
    ];
    prepared.launch(device.stream(), args).unwrap();
    assert_eq!(y, expected);
}

fn comes_through<T: Element + PartialEq>(from_byte: impl Fn(u8) -> T) {
    let values: Vec<T> = (0..=250).map(from_byte).collect();
    for device in devices() {
        let prepared = copy(T::DTYPE).seal().prepare(&device).unwrap();
        let x = Tensor::from_slice(&device, &values, &[values.len()]).unwrap();
        let mut y = Tensor::<T>::zeros(&device, &[values.len()]).unwrap();
        prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap();
        assert!(y.to_vec().unwrap() == values, "{} on {device}", T::DTYPE);
    }
}

#[test]
fn each_element_type() {
    comes_through(|byte| f64::from(byte) * 1.1);
    comes_through(|byte| f32::from(byte) * 1.1);
    comes_through(|byte| f16::from_bits(u16::from(byte) << 6));
    comes_through(|byte| bf16::from_bits(u16::from(byte) << 7));
    comes_through(f8e4m3::from_bits);
    comes_through(f8e5m2::from_bits);
    comes_through(|byte| byte.cast_signed());
    comes_through(|byte| byte);
    comes_through(|byte| i32::from(byte) - 100);
    comes_through(|byte| u32::from(byte) << 24);
    comes_through(|byte| i64::from(byte) << 50);
}

#[test]
fn scratch_is_kept_and_grows() {
    for device in devices() {
        let prepared = copy_through_scratch().seal().prepare(&device).unwrap();
        for n in [10, 300, 100_000, 20] {
            let values: Vec<u8> = (0..n).map(|i| i as u8).collect();
            let x = Tensor::from_slice(&device, &values, &[n]).unwrap();
            let mut y = Tensor::<u8>::zeros(&device, &[n]).unwrap();
            prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap();
            assert_eq!(y.to_vec().unwrap(), values, "{n} bytes on {device}");
        }
    }
}

#[test]
fn the_generated_functions_way() {
    static CACHE: Cache = Cache::new();
    let source = scale().seal();
    for device in devices() {
        for _ in 0..3 {
            let (x, w, expected) = scale_values(2, 4);
            let x = Tensor::from_slice(&device, &x, &[2, 4]).unwrap();
            let w = Tensor::from_slice(&device, &w, &[4]).unwrap();
            let mut y = Tensor::<f32>::zeros(&device, &[2, 4]).unwrap();
            CACHE.launch(source, &mut [(&x).into(), (&w).into(), (&mut y).into(), 0.5f32.into()]).unwrap();
            assert_eq!(y.to_vec().unwrap(), expected);
        }
    }
}

#[test]
fn streams_wait_for_each_other() {
    for device in devices() {
        let prepared = copy(f32::DTYPE).seal().prepare(&device).unwrap();
        let streams: Vec<Stream> = (0..3).map(|_| device.new_stream().unwrap()).collect();
        let n = 1 << 16;
        let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let mut a = Tensor::from_slice(&device, &values, &[n]).unwrap();
        let mut b = Tensor::zeros(&device, &[n]).unwrap();
        for round in 0..10 {
            prepared.launch(&streams[round % 3], &mut [(&a).into(), (&mut b).into()]).unwrap();
            std::mem::swap(&mut a, &mut b);
        }
        assert_eq!(a.to_vec().unwrap(), values);
        for stream in &streams {
            stream.synchronize().unwrap();
        }
    }
}

#[test]
fn many_threads_share_a_kernel() {
    for device in devices() {
        let source = copy_through_scratch().seal();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let device = &device;
                scope.spawn(move || {
                    let prepared = source.prepare(device).unwrap();
                    for round in 0..10u8 {
                        let values: Vec<u8> = (0..500).map(|i| i as u8 ^ thread ^ (round << 3)).collect();
                        let x = Tensor::from_slice(device, &values, &[500]).unwrap();
                        let mut y = Tensor::<u8>::zeros(device, &[500]).unwrap();
                        prepared.launch(device.stream(), &mut [(&x).into(), (&mut y).into()]).unwrap();
                        assert_eq!(y.to_vec().unwrap(), values);
                    }
                });
            }
        });
    }
}

/// Slices, views and a stream of the user's own cudarc context.
#[test]
fn memory_of_cudarc() {
    use factory_runtime::cudarc::driver::CudaContext;

    if gpu().is_none() {
        return;
    }
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let device = Device::from_cuda(context.clone()).unwrap();
    assert_eq!(device, Device::cuda(0).unwrap(), "the primary context is one place");
    let prepared = scale().seal().prepare(&device).unwrap();
    let ours = Stream::from_cuda(stream.clone()).unwrap();
    let (x, w, expected) = scale_values(4, 8);
    let x = stream.clone_htod(&x).unwrap();
    let w = stream.clone_htod(&w).unwrap();
    let mut y = stream.alloc_zeros::<f32>(32).unwrap();
    {
        let args: &mut [ArgValue<'_>] = &mut [
            TensorRef::from_cuda(&x, &[4, 8]).unwrap().into(),
            TensorRef::from_cuda(&w, &[8]).unwrap().into(),
            TensorMut::from_cuda(&mut y, &[4, 8]).unwrap().into(),
            0.5f32.into(),
        ];
        prepared.launch(&ours, args).unwrap();
    }
    assert_eq!(stream.clone_dtoh(&y).unwrap(), expected);

    let mut y = stream.alloc_zeros::<f32>(32).unwrap();
    {
        let rows = x.slice(8..24);
        let mut out = y.slice_mut(16..32);
        let args: &mut [ArgValue<'_>] = &mut [
            TensorRef::from_cuda_view(&rows, &[2, 8]).unwrap().into(),
            TensorRef::from_cuda(&w, &[8]).unwrap().into(),
            TensorMut::from_cuda_view(&mut out, &[2, 8]).unwrap().into(),
            0.5f32.into(),
        ];
        prepared.launch(&ours, args).unwrap();
    }
    assert_eq!(stream.clone_dtoh(&y).unwrap()[16..], expected[8..24]);
}
