"""A trained model as an ONNX graph: waveforms in, probabilities and attributes out, for any clips of any lengths.

The graph has all that `predict` does after decoding: padding of short clips, normalisation, filter banks, encoder,
head, softmax, and the mean over folds. It computes padded batches with masks, as a GPU does (kernels/recording.py), so
that the answer to a clip does not depend on its batch.

The exporter is that of TorchScript (`dynamo=False`). It records the operations of one call, and nothing in that call
depends on the values or sizes of the example: kernels/recording.py sees to it, and `runs/onnx_check.py` checks the
file on clips of other lengths. torch's newer exporter (`dynamo=True`) gives the same answers for wav2vec 2.0, WavLM and
conformers, but takes 9 to 23 s for two small layers in place of 0.3 to 1 s, and needs onnxscript. The other families
were not tried with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from melt_ser.audio import RECEPTIVE_FIELD
from melt_ser.core.errors import SetupError, first_line
from melt_ser.models.classifier import SpeechClassifier, logits_of_all
from melt_ser.models.kernels.masking import mask_of
from melt_ser.models.kernels.recording import least
from melt_ser.models.outputs import Outputs

OPSET = 17  # the first with LayerNormalization; ONNX Runtime has it since 1.12
SHORTEST = 560  # samples; w2v-BERT, which joins two frames, has no frame of fewer
INPUTS, PROBABILITIES = ["audio", "lengths"], "probabilities"


class OnnxGraph(nn.Module):
    """Map audio, (clips, samples) float32 and zero padded, and lengths, (clips,) int64, to the model's outputs.

    Samples are between -1 and 1, mono at 16 kHz, as they were decoded. The outputs are the probabilities, (clips,
    classes), if the model has classes, and each attribute on its scale, (clips,): means over the classifiers.
    """

    def __init__(self, classifiers: Sequence[SpeechClassifier]) -> None:
        super().__init__()
        self.parts, self.classifiers = nn.ModuleList(classifiers), list(classifiers)
        self.do_normalize = classifiers[0].backbone.do_normalize

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        lengths = lengths.clamp(min=RECEPTIVE_FIELD)
        audio = nn.functional.pad(audio, (0, SHORTEST - least(audio.shape[1], SHORTEST)))
        if self.do_normalize:
            audio = normalised(audio, lengths)
        logits = logits_of_all(self.classifiers, audio, lengths)
        outputs = self.classifiers[0].outputs
        answers, count = outputs.answers(torch.stack(logits)).mean(dim=0), len(outputs.classes)
        return *((answers[:, :count],) if count else ()), *answers[:, count:].unbind(dim=1)


def normalised(audio: Tensor, lengths: Tensor) -> Tensor:
    """Scale each clip to zero mean and unit variance over its length, as `audio.waveform.normalise` does."""
    outside = ~mask_of(lengths, audio.shape[1], audio.device)
    number = lengths[:, None]
    mean = audio.masked_fill(outside, 0.0).sum(dim=1, keepdim=True) / number
    centred = (audio - mean).masked_fill(outside, 0.0)
    return centred / torch.sqrt(centred.square().sum(dim=1, keepdim=True) / number + 1e-7)


def output_names(outputs: Outputs) -> list[str]:
    """Return the names of the graph's outputs; SetupError if an attribute has the name of something else in it."""
    names = [*([PROBABILITIES] if outputs.classes else []), *outputs.scales]
    taken = [name for name in outputs.scales if name in (*INPUTS, PROBABILITIES)]
    if taken:
        raise SetupError(f"An ONNX file has an input or output '{taken[0]}' already; give the attribute another name.")
    return names


def write_onnx(classifiers: Sequence[SpeechClassifier], path: Path) -> None:
    """Write the graph of classifiers, which are in evaluation mode on the CPU.

    Raises SetupError if torch cannot record them: a family of the user's own may do what ONNX has no operation for.
    """
    graph = OnnxGraph(classifiers).eval()
    outputs = output_names(classifiers[0].outputs)
    axes = {INPUTS[0]: {0: "clips", 1: "samples"}} | {name: {0: "clips"} for name in (INPUTS[1], *outputs)}
    example = torch.linspace(-1.0, 1.0, 2 * 8000).view(2, 8000), torch.tensor([8000, 6400])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph,
                example,
                str(path),
                dynamo=False,
                input_names=INPUTS,
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
            )
        except Exception as error:  # the exporter raises errors of many kinds
            raise SetupError(f"torch cannot record the model as an ONNX graph ({first_line(error)}).") from error
