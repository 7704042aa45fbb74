//! The network, its derivative, the loss and every gradient against PyTorch (`tests/fixtures/dit.py`).

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use meanflow::flow::{AdaptiveWeight, AverageVelocity, PathSample, Times, interpolate};
use meanflow::net::Labels;
use meanflow::{Dual, Net, NetConfig};
use safetensors::SafeTensors;

use crate::parity_log::{Comparison, DIT_CONDITIONAL, DIT_UNCONDITIONAL, MEAN_FLOW};
use crate::support::{autodiff_device, mean_flow_residuals, values};

/// Relative error allowed between burn in f32 and PyTorch in f64.
const TOLERANCE: f64 = 1e-4;

const UNCONDITIONAL: &[u8] = include_bytes!("../../fixtures/dit_unconditional.safetensors");
const CONDITIONAL: &[u8] = include_bytes!("../../fixtures/dit_conditional.safetensors");

/// A fixture: tensors by name, and the configuration in its metadata.
pub struct Fixture {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    labels: Option<Vec<i32>>,
    pub config: NetConfig,
}

impl Fixture {
    pub fn read(bytes: &[u8]) -> Self {
        let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
        let (_, header) = SafeTensors::read_metadata(bytes).expect("a header");
        let json = &header.metadata().as_ref().expect("metadata")["config"];
        let floats =
            |bytes: &[u8]| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let labels = file.tensor("labels").ok().map(|view| {
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as i32).collect()
        });
        let tensors = file.iter().filter(|(name, _)| *name != "labels");
        let tensors = tensors.map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), floats(view.data()))));
        Self { tensors: tensors.collect(), labels, config: serde_json::from_str(json).expect("a configuration") }
    }

    pub fn values(&self, name: &str) -> &[f32] {
        &self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no `{name}`")).1
    }

    pub fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (shape, values) = self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no `{name}`"));
        Tensor::from_data(TensorData::new(values.clone(), shape.clone()), &autodiff_device().inner())
    }

    /// A parameter-shaped tensor in burn's layout: linear weights are `[in, out]` there, `[out, in]` in PyTorch.
    fn in_layout<const D: usize>(&self, name: &str, linear_weight: bool) -> Tensor<D> {
        let tensor = self.tensor(name);
        if linear_weight { tensor.transpose() } else { tensor }
    }

    /// The network of a configuration with the parameters whose names begin so, on a tape.
    pub fn net(&self, config: &NetConfig, prefix: &str, tape: &Device) -> Net {
        let mut load = Load { fixture: self, prefix, tape, place: Place::default() };
        config.init(0, tape).map(&mut load)
    }

    /// Compares the gradient of every parameter with that of the same name after a prefix.
    pub fn assert_gradients(
        &self,
        net: &Net,
        gradients: &Gradients,
        prefix: &str,
        comparison: &Comparison,
        tolerance: f64,
    ) {
        let place = Place::default();
        let mut compare = Compare { fixture: self, gradients, prefix, comparison, tolerance, place, compared: 0 };
        net.visit(&mut compare);
        let in_fixture = self.tensors.keys().filter(|name| name.starts_with(&format!("{prefix}."))).count();
        assert_eq!(compare.compared, in_fixture, "every parameter has its gradient compared");
    }

    pub fn labels(&self, rows: &[usize]) -> Option<Labels> {
        let labels = self.labels.clone()?;
        let labels: Vec<i32> = rows.iter().map(|&row| labels[row]).collect();
        Some(Tensor::<1, Int>::from_data(TensorData::new(labels, [rows.len()]), &autodiff_device().inner()).into())
    }
}

/// Path of the parameter that a walk has reached.
#[derive(Default)]
struct Place(Vec<(String, String)>);

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.into(), container.into()));
    }

    fn name(&self) -> String {
        let named = self.0.iter().filter(|(_, container)| !container.starts_with("Enum:"));
        named.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    fn is_linear_weight(&self) -> bool {
        self.0.last().is_some_and(|(name, container)| name == "weight" && container == "Struct:Linear")
    }
}

struct Load<'a> {
    fixture: &'a Fixture,
    prefix: &'a str,
    tape: &'a Device,
    place: Place,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = format!("{}.{}", self.prefix, self.place.name());
        let new = self.fixture.in_layout::<D>(&name, self.place.is_linear_weight());
        param.map(|old| {
            assert_eq!(old.dims(), new.dims(), "{name}");
            Tensor::from_data(new.into_data(), self.tape).require_grad()
        })
    }
}

/// Compares every parameter's gradient with the fixture's.
struct Compare<'a> {
    fixture: &'a Fixture,
    gradients: &'a Gradients,
    prefix: &'a str,
    comparison: &'a Comparison,
    tolerance: f64,
    place: Place,
    compared: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.0.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = format!("{}.{}", self.prefix, self.place.name());
        let ours = param.val().grad(self.gradients).unwrap_or_else(|| panic!("{name}: no gradient"));
        let reference = self.fixture.in_layout::<D>(&name, self.place.is_linear_weight());
        self.comparison.close("gradients", &values(ours), &values(reference), self.tolerance);
        self.compared += 1;
    }
}

/// The batch's rows with `r < t` first, as the loss wants them; returns how many, and the order.
fn order(fixture: &Fixture) -> (usize, Vec<usize>) {
    let moving = |i: &usize| fixture.values("r")[*i] < fixture.values("t")[*i];
    let rows = 0..fixture.values("t").len();
    let (mut first, rest): (Vec<usize>, Vec<usize>) = rows.partition(moving);
    let intervals = first.len();
    first.extend(rest);
    (intervals, first)
}

fn assert_parity(bytes: &[u8], network: &Comparison) {
    let fixture = Fixture::read(bytes);
    let net = fixture.net(&fixture.config, "param", &autodiff_device());

    // u and du/dt of all rows, along (v, 0, 1).
    let PathSample { z, v } = interpolate(fixture.tensor("x"), fixture.tensor("e"), fixture.tensor("t"));
    MEAN_FLOW.close("z", &values(z.clone()), fixture.values("z"), TOLERANCE);
    MEAN_FLOW.close("v", &values(v.clone()), fixture.values("v"), TOLERANCE);
    let t: Tensor<1> = fixture.tensor("t");
    let r: Tensor<1> = fixture.tensor("r");
    let all: Vec<usize> = (0..t.dims()[0]).collect();
    let u = net.u(
        Dual::new(z.clone(), v.clone()),
        r.clone().into(),
        Dual::new(t.clone(), t.ones_like()),
        fixture.labels(&all),
    );
    network.close("u", &values(u.primal), fixture.values("u"), TOLERANCE);
    network.close("du/dt", &values(u.tangent.expect("it moves")), fixture.values("dudt"), TOLERANCE);

    // The loss and its gradients, through the rows as training sorts them.
    let (intervals, rows) = order(&fixture);
    let index: Vec<i32> = rows.iter().map(|&i| i as i32).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [rows.len()]), &autodiff_device().inner());
    let path = PathSample { z: z.select(0, index.clone()), v: v.select(0, index.clone()) };
    let times = Times { t: t.select(0, index.clone()), r: r.select(0, index), intervals };
    let labels = fixture.labels(&rows);
    for (suffix, p, c) in [("p1", 1.0, 0.01), ("p075", 0.75, 1e-3)] {
        let residuals = mean_flow_residuals(&net, path.clone(), times.clone(), labels.clone());
        let each = [&residuals.interval, &residuals.instant].into_iter().flatten().cloned().flat_map(values);
        let expected: Vec<f32> = rows.iter().map(|&i| fixture.values("loss_per_sample")[i]).collect();
        MEAN_FLOW.close("residuals", &each.collect::<Vec<_>>(), &expected, TOLERANCE);

        let loss = AdaptiveWeight { p, c }.apply(&residuals);
        MEAN_FLOW.close(
            &format!("loss, p = {p}"),
            &values(loss.clone()),
            fixture.values(&format!("loss_{suffix}")),
            TOLERANCE,
        );
        fixture.assert_gradients(&net, &loss.backward(), &format!("grad_{suffix}"), &MEAN_FLOW, TOLERANCE);
    }
}

#[test]
fn the_unconditional_network_agrees_with_pytorch() {
    assert_parity(UNCONDITIONAL, &DIT_UNCONDITIONAL);
}

#[test]
fn the_conditional_network_agrees_with_pytorch() {
    assert_parity(CONDITIONAL, &DIT_CONDITIONAL);
}
