"""The `/options` of an ODM engine as data: names, types, defaults, domains (contract §3.1). Helps are our own words."""

from __future__ import annotations

from typing import Final

from clusterodm_py.core.types import OptionSpec

_COUNT: Final = "positive integer"
_SIZE: Final = "positive float"
_QUALITY: Final = ("ultra", "high", "medium", "low", "lowest")
_STAGES: Final = (
    "dataset",
    "split",
    "merge",
    "opensfm",
    "openmvs",
    "odm_filterpoints",
    "odm_meshing",
    "mvs_texturing",
    "odm_georeferencing",
    "odm_dem",
    "odm_orthophoto",
    "odm_report",
    "odm_postprocess",
)

_SWITCHES: Final = {
    "3d-tiles": "Write the model as OGC 3D Tiles.",
    "auto-boundary": "Leave out what lies far outside the area flown over.",
    "bg-removal": "Mask the background of every photo.",
    "build-overviews": "Add overviews to the orthophoto.",
    "cog": "Write rasters as cloud optimized GeoTIFF.",
    "dem-euclidean-map": "Also write the distance of every elevation cell to the next measured one.",
    "dsm": "Make a digital surface model.",
    "dtm": "Make a digital terrain model.",
    "fast-orthophoto": "Skip the dense point cloud and the 3D model.",
    "force-gps": "Trust the GPS of the photos even when ground control points are given.",
    "gltf": "Write the textured model as glTF.",
    "ignore-gsd": "Do not cap resolutions at what the photos can show. Costs memory.",
    "merge-skip-blending": "Merge orthophotos without blending their seams.",
    "no-gpu": "Use no graphics card.",
    "optimize-disk-usage": "Delete intermediate files as early as possible.",
    "orthophoto-cutline": "Also write the line along which submodels are cut.",
    "orthophoto-kmz": "Also write the orthophoto for Google Earth.",
    "orthophoto-no-tiled": "Write the orthophoto in strips.",
    "orthophoto-png": "Also write the orthophoto as PNG.",
    "pc-classify": "Tell ground points from others.",
    "pc-copc": "Write the point cloud as COPC.",
    "pc-csv": "Write the point cloud as CSV.",
    "pc-ept": "Write the point cloud as Entwine point tiles.",
    "pc-las": "Write the point cloud as LAS.",
    "pc-rectify": "Correct the ground points after classification.",
    "pc-skip-geometric": "Skip geometric estimation of depth maps.",
    "rolling-shutter": "Correct for rolling shutters.",
    "sfm-no-partial": "Do not try to join partial reconstructions.",
    "skip-3dmodel": "Make no textured 3D model.",
    "skip-band-alignment": "Do not align the bands of multispectral photos.",
    "skip-orthophoto": "Make no orthophoto.",
    "skip-report": "Make no report.",
    "sky-removal": "Mask the sky of every photo.",
    "sm-no-align": "Do not align submodels in split-merge.",
    "texturing-keep-unseen-faces": "Keep faces that no photo shows.",
    "texturing-single-material": "Use one texture for the whole model.",
    "texturing-skip-global-seam-leveling": "Leave the colors at seams as they are.",
    "tiles": "Write map tiles of the orthophoto.",
    "use-3dmesh": "Use the full 3D mesh for the orthophoto.",
    "use-exif": "Use the photos' tags and no GCP file.",
    "use-fixed-camera-params": "Keep the camera parameters fixed.",
    "use-hybrid-bundle-adjustment": "Adjust locally after each photo, globally now and then.",
}

_NUMBERS: Final = (
    ("auto-boundary-distance", "float", "0", _SIZE, "Meters added around the automatic boundary; 0 chooses."),
    ("crop", "float", "3", _SIZE, "Meters cropped from the border. Default: %(default)s"),
    ("dem-decimation", "int", "1", _COUNT, "Thin out points before elevation models. Default: %(default)s"),
    ("dem-gapfill-steps", "int", "3", _COUNT, "Steps by which gaps of elevation models are filled."),
    ("dem-resolution", "float", "5", "float", "Elevation models, in cm per pixel. Default: %(default)s"),
    ("gps-accuracy", "float", "3", _SIZE, "Meters the photos' GPS may be off. Default: %(default)s"),
    ("gps-z-offset", "float", "0", "float", "Meters added to every altitude. Default: %(default)s"),
    ("matcher-neighbors", "int", "0", _COUNT, "Nearest photos each is matched with; 0 takes all."),
    (
        "matcher-order",
        "int",
        "0",
        _COUNT,
        "Photos before and after, by name, each is matched with; 0 is off.",
    ),
    ("max-concurrency", "int", "4", _COUNT, "Processes at most. Default: %(default)s"),
    ("mesh-octree-depth", "int", "11", "integer: 1 <= x <= 14", "Depth of the octree. Default: %(default)s"),
    ("mesh-size", "int", "200000", _COUNT, "Vertices of the mesh at most. Default: %(default)s"),
    ("min-num-features", "int", "10000", "integer", "Features per photo at least. Default: %(default)s"),
    (
        "orthophoto-resolution",
        "float",
        "5",
        "float > 0.0",
        "Orthophoto, in cm per pixel. Default: %(default)s",
    ),
    ("pc-filter", "float", "5", _SIZE, "Drop points so many deviations off; 0 keeps all."),
    ("pc-sample", "float", "0", _SIZE, "Keep one point per so many meters; 0 keeps all."),
    ("rolling-shutter-readout", "float", "0", _SIZE, "Milliseconds a readout takes; 0 looks the camera up."),
    ("smrf-scalar", "float", "1.25", _SIZE, "Elevation scalar of the ground filter. Default: %(default)s"),
    ("smrf-slope", "float", "0.15", _SIZE, "Slope (rise over run) of the ground filter."),
    ("smrf-threshold", "float", "0.5", _SIZE, "Meters of elevation of the ground filter."),
    ("smrf-window", "float", "18.0", "float > 10", "Meters of window of the ground filter."),
    ("split", "int", "999999", _COUNT, "Average photos per submodel. Default: %(default)s"),
    ("split-overlap", "float", "150", _SIZE, "Meters by which submodels overlap. Default: %(default)s"),
)

_CHOICES: Final = (
    (
        "camera-lens",
        "auto",
        ("auto", "perspective", "brown", "fisheye", "fisheye_opencv", "spherical", "equirectangular", "dual"),
        "Projection of the camera. One of: %(choices)s.",
    ),
    ("end-with", "odm_postprocess", _STAGES, "Last stage to run. One of: %(choices)s."),
    ("feature-quality", "high", _QUALITY, "Quality of features. One of: %(choices)s."),
    ("feature-type", "dspsift", ("akaze", "dspsift", "hahog", "orb", "sift"), "One of: %(choices)s."),
    ("matcher-type", "flann", ("bow", "bruteforce", "flann"), "Way of matching. One of: %(choices)s."),
    ("merge", "all", ("all", "pointcloud", "orthophoto", "dem"), "What to merge. One of: %(choices)s."),
    (
        "orthophoto-compression",
        "DEFLATE",
        ("JPEG", "LZW", "PACKBITS", "DEFLATE", "LZMA", "NONE"),
        "Compression of the orthophoto. One of: %(choices)s.",
    ),
    ("pc-quality", "medium", _QUALITY, "Quality of the point cloud. One of: %(choices)s."),
    ("radiometric-calibration", "none", ("none", "camera", "camera+sun"), "One of: %(choices)s."),
    ("rerun-from", "dataset", _STAGES, "First stage to run again. One of: %(choices)s."),
    ("sfm-algorithm", "incremental", ("incremental", "triangulation", "planar"), "One of: %(choices)s."),
)

_TEXTS: Final = (
    ("boundary", "", "json", "GeoJSON polygon that bounds the reconstruction."),
    ("cameras", "", "json", "Camera parameters of another run, cameras.json."),
    ("primary-band", "auto", "string", "Band that multispectral photos are reconstructed with."),
    ("sm-cluster", "", "string", "URL of a cluster that processes submodels."),
)


def _specs() -> tuple[OptionSpec, ...]:
    switches = [OptionSpec(name, "bool", "false", "", text) for name, text in _SWITCHES.items()]
    numbers = [OptionSpec(*row) for row in _NUMBERS]
    choices = [OptionSpec(name, "enum", value, domain, text) for name, value, domain, text in _CHOICES]
    texts = [OptionSpec(name, "string", value, domain, text) for name, value, domain, text in _TEXTS]
    return tuple(sorted((*switches, *numbers, *choices, *texts), key=lambda spec: spec.name))


SPECS: Final = _specs()
"""80 options: 42 bool, 23 numbers, 11 enum, 4 string; every one may be absent."""

ADDED_BY_NODE: Final = ("pc-ept", "cog", "gltf")
"""Switched on by the node itself unless post-processing is skipped (contract §2.2)."""
