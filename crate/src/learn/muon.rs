//! Muon: momentum whose steps are made orthogonal (Keller Jordan, github.com/KellerJordan/Muon), for the matrices of a
//! network.

use burn::module::ParamGroup;
use burn::optim::momentum::{Momentum, MomentumConfig};
use burn::optim::{AdjustLrFn, LearningRate, ModuleOptimizer, MuonConfig, MuonState, Optimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use super::optimization::{Optimization, OptimizerKind};
use super::param_paths::param_paths;
use crate::error::Error;
use crate::model::{ParamRole, ParamSpec};
use crate::net::Net;

/// How long an orthogonal step is, beside the learning rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonScale {
    /// `√max(1, out/in)`, of Keller Jordan's code and of optax, which pixel MeanFlow trains with: a step changes what a
    /// layer gives by the learning rate, in the spectral norm.
    Spectral,
    /// `0.2 √max(in, out)`, so that a step is as long as AdamW's and both share one learning rate (arXiv 2502.16982,
    /// eq. 4).
    #[default]
    MatchRmsAdamw,
}

impl MuonScale {
    /// The factor of a matrix with so many inputs and outputs.
    pub fn factor(self, [inputs, outputs]: [usize; 2]) -> f64 {
        let [inputs, outputs] = [inputs, outputs].map(|count| count as f64);
        match self {
            Self::Spectral => (outputs / inputs).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * inputs.max(outputs).sqrt(),
        }
    }
}

/// Which parameters Muon trains; AdamW trains the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonParams {
    /// What Muon is made for, by its author: the weights between features inside the blocks, of attention and MLP, and
    /// of the convolutions of the U-Net, whose kernels are seen as matrices `[out, in · height · width]`.
    #[default]
    Hidden,
    /// The weights of all linear layers but the patches' embedding, so the MLPs that embed times and guidance, the
    /// modulation and the last layer too: what pixel MeanFlow's code gives to Muon, by optax's rule of two dimensions.
    /// (Its patches go through convolutions, and its classes, tokens and positions have three dimensions.)
    Linear,
}

impl MuonParams {
    /// Whether a parameter is among them.
    pub fn has(self, spec: &ParamSpec) -> bool {
        use ParamRole::{Conditioning, Hidden, Modulation, Output};
        match self {
            Self::Hidden => spec.role == Hidden,
            Self::Linear => spec.shape.len() == 2 && matches!(spec.role, Hidden | Modulation | Conditioning | Output),
        }
    }
}

/// What one optimizer trains of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OptimizerShare {
    /// Which optimizer.
    pub optimizer: OptimizerKind,
    /// How many tensors.
    pub tensors: usize,
    /// How many numbers in them.
    pub parameters: usize,
}

impl OptimizerShare {
    /// The shares of all optimizers that train a network.
    pub fn of(train: &Optimization, specs: &[ParamSpec]) -> Vec<Self> {
        let share = |optimizer, of: &dyn Fn(&ParamSpec) -> bool| {
            let mine: Vec<_> = specs.iter().filter(|spec| of(spec)).map(ParamSpec::count).collect();
            Self { optimizer, tensors: mine.len(), parameters: mine.iter().sum() }
        };
        match train.optimizer {
            OptimizerKind::AdamW => vec![share(OptimizerKind::AdamW, &|_| true)],
            OptimizerKind::Muon => {
                let muon = |spec: &ParamSpec| train.muon_params.has(spec);
                vec![share(OptimizerKind::Muon, &muon), share(OptimizerKind::AdamW, &|spec| !muon(spec))]
            }
        }
    }

    /// In words.
    pub fn describe(shares: &[Self]) -> String {
        let all: usize = shares.iter().map(|share| share.parameters).sum();
        let one = |Self { optimizer, tensors, parameters }: &Self| {
            let part = 100.0 * *parameters as f64 / all.max(1) as f64;
            format!("{optimizer} trains {parameters} of them in {tensors} tensors ({part:.1} %)")
        };
        let each: Vec<_> = shares.iter().map(one).collect();
        format!("{all} parameters: {}", each.join(", "))
    }
}

/// Refuses an optimizer that would train nothing of a network.
///
/// # Errors
/// Says what to do.
pub(crate) fn check(train: &Optimization, specs: &[ParamSpec]) -> Result<(), Error> {
    let idle = |share: &OptimizerShare| share.optimizer == OptimizerKind::Muon && share.tensors == 0;
    match OptimizerShare::of(train, specs).iter().any(idle) {
        true => Err(Error::Config(
            "[train] optimizer = \"muon\" has nothing to train: this network has none of the matrices that muon_params \
             names; use optimizer = \"adamw\""
                .into(),
        )),
        false => Ok(()),
    }
}

/// The parameters of a network that Muon trains.
pub(super) fn group(params: MuonParams, net: &Net) -> ParamGroup {
    let paths = param_paths(net);
    let specs = net.param_specs().into_iter().filter(|spec| params.has(spec));
    ParamGroup::from_paths(specs.filter_map(|spec| paths.get(&spec.name).cloned()).collect())
}

/// burn's Muon with the scale of [`MuonScale`], also for kernels of convolutions. burn's own `√max(1, rows/columns)`
/// takes rows for outputs, but its linear layers are `[in, out]`.
///
/// Its momentum is Keller Jordan's and PyTorch's. optax's, which pixel MeanFlow trains with, corrects the momentum and
/// the gradient that a step is made of for the momentum's start, as NAdam does, and by different factors: the steps
/// differ by a tenth at the second step, by a hundredth at the twentieth, and by less than a thousandth from the
/// sixtieth on (`tests/fixtures/optimizers.py` prints it).
#[derive(Clone)]
pub struct Muon {
    momentum: Momentum,
    /// The orthogonal step alone, scaled by `0.2 √max(rows, columns)`.
    orthogonal: burn::optim::Muon,
    scale: MuonScale,
    weight_decay: f64,
}

/// `B ← 0.95 B + g`, and a step along `g + 0.95 B`.
const MOMENTUM: f64 = 0.95;

impl Muon {
    /// As the settings say: its scale and weight decay.
    pub fn new(train: &Optimization) -> Self {
        let momentum = |momentum, nesterov| MomentumConfig { momentum, dampening: 0.0, nesterov };
        let orthogonal = MuonConfig::new().with_momentum(momentum(0.0, false));
        Self {
            momentum: Momentum::new(&momentum(MOMENTUM, true)),
            orthogonal: orthogonal.with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW).build(),
            scale: train.muon_scale,
            weight_decay: f64::from(train.weight_decay),
        }
    }
}

impl Optimizer for Muon {
    type State<const D: usize> = MuonState<D>;

    /// `θ ← (1 − λ w) θ − λ s O` with the orthogonal step `O` and its scale `s`.
    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<MuonState<D>>,
    ) -> (Tensor<D>, Option<MuonState<D>>) {
        let shape = weight.dims();
        let matrix = |tensor: Tensor<D>| tensor.reshape([shape[0] as i32, -1]);
        let (gradient, momentum) = self.momentum.transform(gradient, state.map(|state| state.momentum));
        let weight = match self.weight_decay {
            0.0 => weight,
            decay => weight * (1.0 - rate * decay),
        };
        let weight = matrix(weight);
        let sides @ [rows, columns] = weight.dims();
        // A linear layer is `[in, out]`, the kernel of a convolution `[out, in, height, width]`.
        let sides = if D == 2 { sides } else { [columns, rows] };
        let rate = rate * (self.scale.factor(sides) / MuonScale::MatchRmsAdamw.factor(sides));
        let (weight, _) = self.orthogonal.step(rate, weight, matrix(gradient), None);
        (weight.reshape(shape), Some(MuonState::new(momentum)))
    }

    fn to_device<const D: usize>(state: MuonState<D>, device: &Device) -> MuonState<D> {
        <burn::optim::Muon as Optimizer>::to_device(state, device)
    }
}

/// The optimizer of a network as configured, without state.
pub(crate) fn optimizer(train: &Optimization, net: &Net) -> ModuleOptimizer {
    let adamw = ModuleOptimizer::from(AdamW::new(train));
    match train.optimizer {
        OptimizerKind::AdamW => adamw,
        OptimizerKind::Muon => adamw.with_group(group(train.muon_params, net), Muon::new(train), None),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::model::NetConfig;

    /// `rows × columns`, row by row, in f64.
    #[derive(Clone)]
    struct Matrix(usize, usize, Vec<f64>);

    impl Matrix {
        fn of<const D: usize>(tensor: &Tensor<D>, rows: usize) -> Self {
            let values = tensor.clone().try_into_vec_as::<f32>().expect("numbers");
            Self(rows, values.len() / rows, values.into_iter().map(f64::from).collect())
        }

        fn transposed(&self) -> Self {
            let Self(rows, columns, values) = self;
            Self(*columns, *rows, (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect())
        }

        fn times(&self, other: &Self) -> Self {
            let (rows, inner, columns) = (self.0, self.1, other.1);
            let value = |i: usize| {
                (0..inner).map(|k| self.2[i / columns * inner + k] * other.2[k * columns + i % columns]).sum()
            };
            Self(rows, columns, (0..rows * columns).map(value).collect())
        }

        /// `a · self + b · other`.
        fn blended(&self, a: f64, other: &Self, b: f64) -> Self {
            Self(self.0, self.1, self.2.iter().zip(&other.2).map(|(x, y)| a * x + b * y).collect())
        }
    }

    /// Five Newton–Schulz iterations as Keller Jordan's `zeropower_via_newtonschulz5` has them, in f64.
    fn orthogonal(gradient: &Matrix) -> Matrix {
        let norm = gradient.2.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut x = gradient.blended(1.0 / norm, gradient, 0.0);
        for _ in 0..5 {
            let square = x.times(&x.transposed());
            let quintic = square.blended(-4.775, &square.times(&square), 2.0315);
            x = x.blended(3.4445, &quintic.times(&x), 1.0);
        }
        x
    }

    /// Three steps of one weight against the same in f64: with momentum, weight decay and the scale, as a matrix `[out,
    /// in]`.
    fn steps<const D: usize>(shape: [usize; D], scale: MuonScale, expected: impl Fn(f64, f64) -> f64) {
        let (rate, decay, device) = (0.02, 0.1, Device::flex());
        let draw = || Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        // Rows of outputs, whichever way they are kept.
        let of = |tensor: &Tensor<D>| match D {
            2 => Matrix::of(tensor, shape[0]).transposed(),
            _ => Matrix::of(tensor, shape[0]),
        };
        let train = Optimization { muon_scale: scale, weight_decay: decay as f32, ..Optimization::default() };
        let muon = Muon::new(&train);
        let (mut weight, mut state) = (draw(), None);
        let mut reference = of(&weight);
        let mut momentum = reference.blended(0.0, &reference, 0.0);
        for step in 1..=3 {
            let (gradient, before) = (draw(), reference.clone());
            momentum = momentum.blended(0.95, &of(&gradient), 1.0);
            let along = orthogonal(&momentum.blended(0.95, &of(&gradient), 1.0));
            let length = expected(along.0 as f64, along.1 as f64);
            reference = before.blended(1.0 - rate * decay, &along, -rate * length);
            (weight, state) = muon.step(rate, weight, gradient, state);
            let step_of = |now: &Matrix| now.blended(1.0, &before, -1.0).2;
            let (ours, theirs) = (step_of(&of(&weight)), step_of(&reference));
            let largest = theirs.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            let error = ours.iter().zip(&theirs).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest;
            assert!(error < 2e-3, "{scale:?}, {shape:?}, step {step}: {error:.1e}");
            // Rounding does not add up.
            reference = of(&weight);
        }
    }

    #[test]
    fn steps_are_those_of_a_reference_in_double_precision() {
        let spectral = |outputs: f64, inputs: f64| (outputs / inputs).max(1.0).sqrt();
        let match_rms = |outputs: f64, inputs: f64| 0.2 * outputs.max(inputs).sqrt();
        // Of more outputs than inputs, of fewer, and kernels of convolutions likewise.
        for shape in [[8, 24], [24, 8], [16, 16]] {
            steps(shape, MuonScale::Spectral, spectral);
            steps(shape, MuonScale::MatchRmsAdamw, match_rms);
        }
        for shape in [[40, 3, 3, 3], [6, 8, 3, 3], [12, 8, 1, 1]] {
            steps(shape, MuonScale::Spectral, spectral);
            steps(shape, MuonScale::MatchRmsAdamw, match_rms);
        }
    }

    /// Runs that were begun before there were two scales go on as they were.
    #[test]
    fn the_scale_of_adamw_is_burns_step_bit_for_bit() {
        use burn::optim::decay::WeightDecayConfig;
        let (shape, device) = ([12, 20], Device::flex());
        let draw = || Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let config = MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
        let burns = config.with_weight_decay(Some(WeightDecayConfig::new(0.1))).build();
        let ours = Muon::new(&Optimization { weight_decay: 0.1, ..Optimization::default() });
        let (mut mine, mut my_state) = (draw(), None);
        let (mut theirs, mut their_state) = (mine.clone(), None);
        for _ in 0..3 {
            let gradient = draw();
            (mine, my_state) = ours.step(1e-2, mine, gradient.clone(), my_state);
            (theirs, their_state) = burns.step(1e-2, theirs, gradient, their_state);
            assert_eq!(mine.to_data(), theirs.to_data());
        }
    }

    #[test]
    fn each_network_gives_muon_what_the_settings_name() {
        let shares = |preset: &str, muon_params| {
            let known = NetConfig::named(preset, 32, 3, 5).expect("known");
            let net = NetConfig { width: 16, depth: 1, heads: if preset == "unet" { 1 } else { 2 }, ..known };
            let specs = net.init(0, &Device::flex()).param_specs();
            let train = Optimization { optimizer: OptimizerKind::Muon, muon_params, ..Optimization::default() };
            check(&train, &specs).expect("it has matrices");
            let shares = OptimizerShare::of(&train, &specs);
            assert_eq!(shares.iter().map(|share| share.parameters).sum::<usize>(), net.parameters());
            shares[0].tensors
        };
        // qkv, proj, fc1, fc2; and the modulation of block and head, two embedded times, the head.
        assert_eq!(shares("dit-b/4", MuonParams::Hidden), 4);
        assert_eq!(shares("dit-b/4", MuonParams::Linear), 4 + 2 + 4 + 1);
        // q, k, v, proj, gate, up, down; and h, the scale and two ends of guidance, the head.
        for preset in ["imf-b/2", "pmf-b/16"] {
            assert_eq!(shares(preset, MuonParams::Hidden), 7);
            assert_eq!(shares(preset, MuonParams::Linear), 7 + 8 + 1);
        }
        assert!(shares("unet", MuonParams::Hidden) > 30);
    }

    #[test]
    fn muon_with_nothing_to_train_is_refused_with_what_to_do() {
        let net = NetConfig::preset("browser-s", 8, 3, 0).expect("known").init(0, &Device::flex());
        let vectors: Vec<_> = net.param_specs().into_iter().filter(|spec| spec.role == ParamRole::Vector).collect();
        let muon = Optimization { optimizer: OptimizerKind::Muon, ..Optimization::default() };
        let error = check(&muon, &vectors).expect_err("no matrices").to_string();
        assert!(error.contains("nothing to train") && error.contains("adamw"), "{error}");
        check(&Optimization::default(), &vectors).expect("AdamW trains anything");
    }
}
