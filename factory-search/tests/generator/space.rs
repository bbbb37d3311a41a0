//! The space: large enough, without repetition, the same each time, and right about itself.

use std::collections::BTreeSet;

use factory_search::generator::Space;
use factory_spec::{Arch, SizeValues};

use crate::programs::{PROGRAMS, bound};

fn of(name: &str) -> factory_spec::BoundSpec {
    bound(PROGRAMS.iter().find(|program| program.name == name).expect("the program is in the table"))
}

#[test]
fn the_examples_have_a_hundred_configurations_and_more() {
    for (name, sizes) in [("rmsnorm", [4096, 4096]), ("fused", [4096, 1024])] {
        let spec = of(name);
        let space = Space::new(&spec).expect("the examples are lowered");
        let configurations = space.configurations(Arch::Sm90, &SizeValues(sizes.to_vec()));
        assert!(configurations.len() >= 100, "{name}: {}", configurations.len());
        let names: BTreeSet<String> = configurations.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), configurations.len(), "{name}: two configurations of one name");
        assert_eq!(configurations, space.configurations(Arch::Sm90, &SizeValues(sizes.to_vec())));
    }
}

#[test]
fn the_same_configuration_gives_the_same_bytes() {
    let spec = of("fused");
    let space = Space::new(&spec).expect("the example is lowered");
    for config in space.configurations(Arch::Sm100, &SizeValues(vec![64, 512])).iter().step_by(17) {
        let first = space.generate(config, Arch::Sm100).expect("listed configurations suit");
        let second = space.generate(config, Arch::Sm100).expect("listed configurations suit");
        assert_eq!(first, second);
        assert!(first.ptx.starts_with(".version 8.6\n.target sm_100\n"), "{}", &first.ptx[..60]);
    }
}

#[test]
fn rows_from_shortest_to_longest_have_configurations() {
    let spec = of("rmsnorm");
    let space = Space::new(&spec).expect("the example is lowered");
    let mut columns = 8;
    while columns <= 262_144 {
        let over = SizeValues(vec![2048, columns]);
        for arch in [Arch::Sm90, Arch::Sm100] {
            let configurations = space.configurations(arch, &over);
            assert!(configurations.len() >= 10, "n={columns}: {}", configurations.len());
            let sizes = |name: &str| spec.size_id(name).map(|id| over[id] as i64);
            let config = configurations.last().expect("there are some");
            let candidate = space.generate(config, arch).expect("listed configurations suit");
            assert_eq!(candidate.variant.when.eval(&sizes), Ok(1), "{config} is for n={columns}");
        }
        columns *= 2;
    }
}
