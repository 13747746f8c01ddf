"""What a user can get wrong, in one line.

Only UserError, OSError and Hydra's own errors are the user's; any other exception is a fault of ours and keeps its traceback.
"""

import contextlib
import re
from collections.abc import Iterator


class UserError(Exception):
    """A mistake of the user's. Its text is one line that names the setting, file or folder and says what to do."""


def check_width(name: str, value: int) -> None:
    """Raises UserError unless a layer can have `value` units."""
    if not 1 <= value <= 65_536:
        raise UserError(f"{name} must be in 1..65,536, got {value}")


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into a UserError that says in one line what to do."""
    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is None and isinstance(error, InstantiationException):
            raise  # of a constructor's own making
        raise UserError(str(cause) if cause else " ".join(explain(error).split())) from error
    except ValueError as error:
        if "Config group override must be" not in str(error):
            raise
        raise UserError("a group takes the name of one of its options, as in method=simclr, not null or a number; see --help") from error


def explain(error: BaseException) -> str:
    """One line on what to do about an error of Hydra's or of the operating system's, which are told by their words."""
    from ssl_mnist.config import CONFIG_DIR, GROUPS, _no_setting

    text = str(error)
    if "interpolation '${data/kind}'" in text:
        if not re.search(r"possible interpolation keys:.* data\b", text):
            return "data cannot be removed"
        return (
            "augmentation=auto needs a data set that names its kind: 'defaults: [kind: digits]' in its YAML file (digits, letters, "
            "clothing or photographs); or choose an augmentation, as in augmentation=warp"
        )
    if missing := re.search(r"Could not override '([^']+)'", text):
        key = missing[1]
        options = sorted(path.stem for path in (CONFIG_DIR / key).glob("*.yaml"))
        if key in GROUPS:
            return f"{key} takes the name of one of its options: {', '.join(options)}"
        return f"{key} is not chosen by default; add it, as in +{key}={options[0]}" if options else _no_setting(key)
    if (missing := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text)) or (
        missing := re.search(r"In '[^']*': Could not find '([^']+)/([^'/]+)'", text)
    ):
        group, option = missing.groups()
        if group in ("hydra/launcher", "hydra/sweeper", "hydra/sweeper/sampler"):
            return f"{group}={option} is not installed; pip install -e '.[sweep]' brings joblib, submitit and optuna, '.[ray]' brings ray"
        available = re.search(r"Available options in '[^']+':\s*((?:\s*\S+)+?)\s*(?:Config search path|$)", text)
        options = sorted(available[1].split()) if available else sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
        return f"{group}={option} is no option" + (f"; {group} is one of {', '.join(options)}" if options else "")
    if unparsable := re.search(r"(?:parsing override|Unrecognized argument:?) '([^']*)'", text):
        return f"'{unparsable[1]}' is neither group=option nor key=value; --help shows examples"
    if override := getattr(error, "override", None):
        words = " ".join(text.split("See https")[0].split())
        shown = override if override.isprintable() else repr(override)
        return f"{shown} cannot be read ({words}); a value with blanks or one of =,()[]{{}} is quoted twice, as in 'key=\"a=b\"'"
    if unset := re.search(r"Environment variable '([^']+)' not found", text):
        return f"{_key(text)}the environment variable {unset[1]} is not set"
    if unknown := re.search(r"(?:Unsupported interpolation type|Interpolation key) '?([^'\s]+)'?", text):
        return f"{_key(text)}${{{unknown[1]}}} cannot be resolved"
    if "Recursive interpolation" in text:
        return f"{_key(text)}an interpolation ${{...}} leads back to itself"
    if "interpolation" in text.lower():
        return f"{_key(text)}{' '.join(text.split(chr(10))[0].split())}"
    if isinstance(error, OSError) and error.errno:
        what = f"cannot use {error.filename}" if error.filename else "cannot go on"
        return f"{what}: {error.strerror}; results go to hydra.run.dir (hydra.sweep.dir), data comes from data.root"
    return " ".join(text.split())


def _key(text: str) -> str:
    found = re.search(r"full_key: (\S+)", text)
    return f"{found[1]}: " if found else ""
