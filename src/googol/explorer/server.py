"""Serving the page to a browser, until Ctrl-C."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from googol.experiments import Run
from googol.explorer.view import Explorer

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(run: Run, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves the page of a run, and returns after Ctrl-C.

    Arguments:
        run: A finished run.
        host: The address to listen on; "0.0.0.0" for all of this machine.
        port: The port to listen on; 0 for any that is free.

    Raises:
        ValueError: gradio is not installed, the model knows no conditions, or the port cannot be had.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs gradio, which is not installed: pip install 'googol[explore]'")
    explorer = Explorer(run)
    with listening(host, port) as listener, tempfile.TemporaryDirectory(prefix="googol-explore-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploaded files are deleted with it
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(application(explorer), log_level="warning", timeout_graceful_shutdown=1))
        print(f"the page of {run.folder} is at {address(listener)} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        print("stopped", file=sys.stderr)


def application(explorer: Explorer) -> FastAPI:
    """The page as an ASGI application. It loads nothing from other machines, and tells them nothing."""
    import gradio as gr
    from fastapi import FastAPI

    from googol.explorer.page import LARGEST, STYLE, build_page

    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    # The theme's own greys are too light to read.
    greys = ("block_info_text_color", "body_text_color_subdued", "block_label_text_color", "block_title_text_color")
    theme.set(**dict.fromkeys(greys, "*neutral_600"), **{f"{name}_dark": "*neutral_300" for name in greys})
    return gr.mount_gradio_app(
        FastAPI(),
        build_page(explorer),
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=f"{LARGEST}mb",
        ssr_mode=False,
        theme=theme,
        css_paths=[STYLE],
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ValueError: The port is taken, forbidden or no port, or the host is none of this machine's.
    """
    if port not in range(65536):
        raise ValueError(f"--port must be from 0 (any that is free) to 65535, got {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} is taken by another program: choose another by --port, or --port 0 for a free one"
        elif error.errno == errno.EACCES:
            message = f"port {port} is not allowed to you: choose one above 1023 by --port, or --port 0 for a free one"
        else:
            reason = str(error.strerror or error).split(" (while")[0]
            message = f"cannot listen on --host {host}: {reason}"
        raise ValueError(message) from error


def address(listener: socket.socket) -> str:
    """Where a browser finds what listens."""
    host, port = listener.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{here}:{port}"
