"""One small model of each of timm's families, at an input size that the model permits."""

import torch
from torch import nn

from ..models import invariants

__all__ = ["TIMM", "build_timm", "timm_input_size"]

_SMALL = 128
_OWN_SIZE = ("halonet26t",)  # its blocks of 8 × 8 pixels do not fit into less

_CONVOLUTIONAL = """resnet10t resnetv2_18 resnext26ts seresnet18 ecaresnet26t skresnet18 resnest14d res2net50_14w_8s
    cspresnet50 cs3darknet_focus_s darknetaa53 dla34 dpn68 densenet121 vgg11 vovnet39a ese_vovnet19b_dw
    hrnet_w18_small_v2 inception_v4 inception_resnet_v2 xception41 nasnetalarge selecsls42 tresnet_m rexnet_100
    regnetx_002 regnety_002 regnetz_b16 repvgg_a0 mobileone_s0 gernet_s nf_regnet_b0 nfnet_l0 ghostnet_050
    ghostnetv2_100 repghostnet_050 mobilenetv3_small_050 mobilenetv4_conv_small mnasnet_small lcnet_035 hardcorenas_a
    efficientnet_lite0 efficientnetv2_rw_t tinynet_e hgnetv2_b0 convmixer_768_32 convnext_atto convnextv2_atto
    inception_next_atto mambaout_femto rdnet_tiny starnet_s1 focalnet_tiny_srf lambda_resnet26t"""
_ATTENTION = """vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224
    vit_relpos_small_patch16_224
    beit_base_patch16_224 eva02_tiny_patch14_224 cait_xxs24_224 convit_tiny crossvit_tiny_240 tnt_s_patch16_224
    pit_ti_224 volo_d1_224 xcit_nano_12_p16_224 visformer_tiny levit_128s coat_lite_tiny coatnet_pico_rw_224
    maxvit_rmlp_pico_rw_256 mvitv2_tiny swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224
    swinv2_tiny_window8_256 twins_svt_small pvt_v2_b0 nest_tiny gcvit_xxtiny davit_tiny hiera_tiny_224
    poolformer_s12 caformer_s18 efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0
    edgenext_xx_small fastvit_t8 mobilevit_xxs mobilevitv2_050 nextvit_small repvit_m0_9 shvit_s1 swiftformer_xs
    tiny_vit_5m_224 vitamin_small_224 botnet26t_256 halonet26t mixer_s32_224 gmlp_ti16_224 gmixer_12_224
    resmlp_12_224 sequencer2d_s"""

TIMM: tuple[str, ...] = (*_CONVOLUTIONAL.split(), *_ATTENTION.split())
"""The smallest variant of each family, families without attention first."""


def timm_input_size(name: str) -> int:
    """Side of the square images: what the architecture fixes, else 128."""
    from timm.models import get_pretrained_cfg

    given = get_pretrained_cfg(name)
    assert given is not None
    return int(given.input_size[-1]) if given.fixed_input_size or name in _OWN_SIZE else _SMALL


def build_timm(name: str) -> nn.Module:
    """The model with random weights in eval mode."""
    import timm

    torch.manual_seed(0)
    return invariants.unusual_weights(timm.create_model(name, pretrained=False))
