//! Where a launch stands under the roofs of a GPU: the least time that each resource alone would need.

use factory_ptx::machine::{Counters, TensorType};

use super::Target;
use super::estimate::{LaunchProfile, pipes};

/// The time that one resource alone would need.
#[derive(Clone, Debug, PartialEq)]
pub struct Roof {
    /// `memory`, `l2`, `issue`, a pipe or a type of tensor core.
    pub name: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// All roofs over a launch, the lowest ceiling (the longest time) first.
#[derive(Clone, Debug, PartialEq)]
pub struct Roofline {
    /// Every resource that the launch uses.
    pub roofs: Vec<Roof>,
}

impl Roofline {
    /// No execution is faster, as far as the figures of the target go; 0 for a launch that does nothing.
    pub fn floor(&self) -> f64 {
        self.roofs.first().map_or(0.0, |roof| roof.seconds)
    }

    /// The resource that binds.
    pub fn bound(&self) -> &'static str {
        self.roofs.first().map_or("nothing", |roof| roof.name)
    }
}

/// The roofs over a launch. `compulsory` is the bytes that must move to and from memory, `tensor` the operations of tensor
/// cores by type. Types that the target does not have are left out.
pub fn roofline(
    profile: &LaunchProfile,
    compulsory: f64,
    tensor: &[f64; TensorType::ALL.len()],
    target: &Target,
) -> Roofline {
    let rate = f64::from(target.multiprocessors) * target.clock;
    let mut roofs = vec![
        Roof { name: "memory", seconds: compulsory / target.memory_bandwidth },
        // L1 may take everything that a block touches again.
        Roof { name: "l2", seconds: profile.block_bytes / target.l2_bandwidth },
    ];
    roofs.extend(pipes(profile).map(|(name, cycles)| Roof { name, seconds: cycles / rate }));
    for (ty, operations) in TensorType::ALL.into_iter().zip(tensor) {
        let rate = target.tensor[ty as usize];
        if rate > 0.0 {
            roofs.push(Roof { name: tensor_name(ty), seconds: operations / rate });
        }
    }
    roofs.retain(|roof| roof.seconds > 0.0);
    roofs.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    Roofline { roofs }
}

fn tensor_name(ty: TensorType) -> &'static str {
    match ty {
        TensorType::Half => "tensor f16",
        TensorType::Tf32 => "tensor tf32",
        TensorType::F64 => "tensor f64",
        TensorType::F8 => "tensor f8",
        TensorType::Int8 => "tensor int8",
        TensorType::F6F4 => "tensor f6 f4",
        TensorType::Narrow => "tensor narrow",
    }
}

/// Operations of tensor cores, scaled as a profile is.
pub fn tensor_operations(counters: &Counters, factor: f64) -> [f64; TensorType::ALL.len()] {
    counters.tensor_operations.map(|operations| operations as f64 * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_resource_binds() {
        let profile = LaunchProfile { load_bytes: 1e9, ..LaunchProfile::default() };
        let none = [0.0; TensorType::ALL.len()];
        let memory = roofline(&profile, 1e9, &none, &Target::H200);
        assert_eq!(memory.bound(), "memory");
        assert!((memory.floor() - 1e9 / Target::H200.memory_bandwidth).abs() < 1e-9);
        let mut tensor = none;
        tensor[TensorType::Half as usize] = 1e15;
        let product = roofline(&profile, 1e9, &tensor, &Target::H200);
        assert_eq!(product.bound(), "tensor f16");
        assert!((product.floor() - 1e15 / 989.4e12).abs() < 1e-3);
        assert_eq!(roofline(&LaunchProfile::default(), 0.0, &none, &Target::B200).bound(), "nothing");
    }
}
