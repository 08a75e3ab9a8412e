"""A small table for the tests of tables."""

TABLE = {
    "title": "Digits",
    "source": "nowhere",
    "remark": "A table for the tests.",
    "baseline": "normal",
    "common": {
        "metrics": {"elbo": "ELBO"},
        "settings": {
            "model": {"kind": "vae", "latents": 2, "network": {"kind": "mlp", "hidden": [8]}},
            "training": {"epochs": 2, "accelerator": "cpu"},
        },
    },
    "data": {
        "digits": {},
        "mnist": {"metrics": {"iwae": "log p(x)"}, "settings": {"model": {"latents": 3}}, "evaluation": {"k": 7}},
        "few": {
            "title": "Digits with few labels",
            "metrics": {"imputation_accuracy": "filled in", "fid": "distance"},
            "settings": {"data": "digits", "missing": 0.9, "missing_seed": 3},
        },
    },
}
ROWS = {
    "normal": {"title": "Normal", "place": 1, "published": {"digits": {"elbo": [-40.0, 0.5]}}},
    "ring": {
        "title": "Ring",
        "place": 2,
        "settings": {
            "model": {"prior": {"kind": "tensor-ring", "rank": 2, "components": 3}},
            "on": {"mnist": {"training": {"epochs": 1}}},
        },
    },
}
