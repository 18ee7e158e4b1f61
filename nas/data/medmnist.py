"""MedMNIST's two-dimensional sets by name, from the folder where its package keeps its files.

J. Yang et al., MedMNIST v2, Scientific Data 10, 41, 2023; the larger sizes are MedMNIST+.
"""

from pathlib import Path

from nas.data.dataset import DataSet
from nas.data.formats import npz
from nas.data.request import DataRequest
from nas.errors import DataError

FOLDER = ".medmnist"  # in the home folder
SIZES = ("", "_64", "_128", "_224")  # behind the name; without one 28 px

_ORGANS = (
    "bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver",
    "lung-left", "lung-right", "pancreas", "spleen",
)  # fmt: skip
CLASSES: dict[str, tuple[str, ...]] = {
    "pathmnist": (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
        "normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    ),
    "chestmnist": (
        "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia",
        "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia",
    ),
    "dermamnist": (
        "actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
        "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
        "vascular lesions",
    ),
    "octmnist": (
        "choroidal neovascularization", "diabetic macular edema", "drusen", "normal",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("0", "1", "2", "3", "4"),
    "breastmnist": ("malignant", "normal or benign"),
    "bloodmnist": (
        "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte",
        "monocyte", "neutrophil", "platelet",
    ),
    "tissuemnist": (
        "collecting duct, connecting tubule", "distal convoluted tubule",
        "glomerular endothelial cells", "interstitial endothelial cells", "leukocytes",
        "podocytes", "proximal tubule segments", "thick ascending limb",
    ),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
}  # fmt: skip


def names() -> list[str]:
    """Return the names of all sets in all sizes."""
    return [name + size for name in CLASSES for size in SIZES]


def file_of(name: str) -> Path:
    """Return where the file of a set is kept."""
    return Path.home() / FOLDER / f"{name}.npz"


def load(name: str, request: DataRequest) -> DataSet:
    """Read a set by its name. Raises DataError that says where its file belongs."""
    request.refuse(f"the set {name}")
    path = file_of(name)
    if not path.exists():
        there = sorted(each.name for each in path.parent.glob("*.npz"))
        raise DataError(
            f"{name} is a set of MedMNIST; its file is not there: {path} (that folder has: "
            f"{', '.join(there) or 'nothing'}). nas downloads no named set: get {path.name} from "
            "medmnist.com, or give the path of yours."
        )
    return npz.load(path, request, CLASSES[name.partition("_")[0]])
