from .data import Attribute as Attribute
from .data import Dataset as Dataset
from .data import load as load
from .game import GAN as GAN
from .game import Outcome as Outcome
from .game import Player as Player
from .game import TrainState as TrainState
from .game import Turn as Turn
from .game import init as init
from .game import take_turn as take_turn
from .game import train_step as train_step
from .game import update_discriminator as update_discriminator
from .game import update_generator as update_generator
from .run.checkpoints import load_params as load_params
from .sampling import generate as generate
from .sampling import interpolate as interpolate
from .sampling import sample as sample
from .systems.dcgan.config import DCGANConfig as DCGANConfig
from .systems.latent.losses import latent_gan as latent_gan
from .systems.mlp_gan.config import MLPGANConfig as MLPGANConfig
from .systems.pix2pix.config import Pix2PixConfig as Pix2PixConfig
from .systems.pix2pix.losses import paired_gan as paired_gan
from .systems.pix2pix.translation import translate as translate
from .trained import Run as Run
from .trained import load_run as load_run
from .weights import pretrained as pretrained

__version__: str
