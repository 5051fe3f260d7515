"""Every option once: its default, unit, help, and the names it has on the command line, in the environment and TOML."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microtome.errors import InvalidRequest
from microtome.settings.parse import (
    boolean,
    color,
    duration,
    items,
    name_of_bucket,
    networks,
    optional_path,
    optional_text,
    priorities,
    size,
    text,
    whole,
)

PREFIX = "MICROTOME_"
OFF = False
ON = True
_CORES = os.cpu_count() or 2
_SECRET_BYTES = 16
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is called, read and explained. ``wsi`` and ``ws`` are its names in the environment of servers that
    this one can stand in for.
    """

    parse: Callable[[object], Any]
    help: str
    wsi: str | None = None
    ws: str | None = None
    flags: tuple[str, ...] = ()
    unit: str = ""
    group: str = "server"
    secret: bool = False


def _option(default: object, parse: Callable[[object], Any], help_: str, **more: Any) -> Any:
    return field(default=default, repr=not more.get("secret", False), metadata={"option": Option(parse, help_, **more)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server."""

    data: str | None = _option(None, optional_text, "Folder, file or URL to serve: PATH, s3://bucket/prefix, gs://,"
                               " az://, https://", group="storage", ws="WS_DATA_DIR")  # fmt: skip
    host: str = _option("127.0.0.1", text, "Address to listen on; 0.0.0.0 for every one", wsi="WSI_HOST")
    port: int = _option(3000, whole(0, 65535), "Port to listen on; 0 takes a free one", wsi="WSI_PORT", flags=("-p",))
    workers: int = _option(1, whole(1, 64), "Processes that share the port and the tile cache")
    root_path: str = _option("", text, "Path under which a proxy shows the server, such as /slides", ws="WS_ROOT_PATH")

    trusted_proxies: tuple[str, ...] = _option((), networks, "Addresses and networks of proxies whose Forwarded and"
                                               " X-Forwarded headers are believed")  # fmt: skip

    s3_bucket: str | None = _option(None, name_of_bucket, "Bucket to serve, as s3://BUCKET", wsi="WSI_S3_BUCKET",
                                    group="storage")  # fmt: skip
    s3_endpoint: str | None = _option(None, optional_text, "Address of an S3-compatible server", wsi="WSI_S3_ENDPOINT",
                                      group="storage")  # fmt: skip
    s3_region: str | None = _option(None, optional_text, "Region of the bucket (us-east-1 when nothing else says)",
                                    wsi="WSI_S3_REGION", group="storage")  # fmt: skip
    s3_anonymous: bool = _option(OFF, boolean, "Read a public bucket without credentials", group="storage")
    follow_symlinks: bool = _option(OFF, boolean, "Follow symbolic links out of the served folder", group="storage")
    storage_timeout: float = _option(30.0, duration, "Longest wait for one answer of the store", unit="s",
                                     group="storage")  # fmt: skip
    storage_attempts: int = _option(4, whole(1, 20), "Tries of one request to the store", group="storage")
    revalidate: float = _option(10.0, duration, "How often an open slide is checked for having been replaced", unit="s",
                                group="storage")  # fmt: skip

    auth_enabled: bool = _option(OFF, boolean, "Require signed URLs", wsi="WSI_AUTH_ENABLED", group="access")
    auth_secret: tuple[str, ...] = _option((), items, "Secret of the signatures, at least 16 bytes; several for"
                                           " rotation, the first signs", wsi="WSI_AUTH_SECRET", group="access",
                                           secret=True)  # fmt: skip
    public_view: bool = _option(OFF, boolean, "Let everybody open /view, although signed URLs are required",
                                group="access")  # fmt: skip
    admins: tuple[str, ...] = _option((), items, "Subjects (sub) of those who may see the pages below /admin where"
                                      " there is a login", group="access")  # fmt: skip
    cors_origins: tuple[str, ...] = _option(("*",), items, "Origins whose pages may read answers; * for all",
                                            wsi="WSI_CORS_ORIGINS", ws="WS_CORS_ALLOW_ORIGINS",
                                            group="access")  # fmt: skip
    frame_ancestors: str = _option("'self'", text, "Who may show the pages in a frame, in words of a Content-Security-"
                                   "Policy", group="access")  # fmt: skip

    cache_slides: int = _option(100, whole(1, 100_000), "Slides kept open", wsi="WSI_CACHE_SLIDES",
                                ws="WS_IMAGE_HANDLE_CACHE_SIZE", group="caches")  # fmt: skip
    cache_blocks: int = _option(1024, whole(1, 1 << 24), "Blocks of remote objects kept in memory, over all slides",
                                wsi="WSI_CACHE_BLOCKS", group="caches")  # fmt: skip
    block_size: int = _option(262144, size(1024, 16 << 20), "Size of such a block", wsi="WSI_BLOCK_SIZE", unit="bytes",
                              group="caches")  # fmt: skip
    cache_tiles: int = _option(104857600, size(1), "Encoded tiles kept, over all processes", wsi="WSI_CACHE_TILES",
                               unit="bytes", group="caches")  # fmt: skip
    cache_answers: int = _option(64 << 20, size(1), "Answers kept ready for the wire, in each process", unit="bytes",
                                 group="caches")  # fmt: skip
    cache_headers: int = _option(64 << 20, size(1), "Headers of slides kept in memory", unit="bytes", group="caches")
    cache_dir: Path | None = _option(None, optional_path, "Folder that keeps headers and indexes over restarts",
                                     group="caches")  # fmt: skip
    cache_max_age: int = _option(3600, whole(0, (1 << 32) - 1), "How long clients may keep a tile",
                                 wsi="WSI_CACHE_MAX_AGE", unit="s", group="caches")  # fmt: skip
    slide_idle: float = _option(600.0, duration, "An open slide is closed after this time without use", unit="s",
                                group="caches", ws="WS_INACTIVE_HISTO_IMAGE_TIMEOUT_SECONDS")  # fmt: skip

    jpeg_quality: int = _option(80, whole(1, 100), "Default quality; stored JPEG tiles are answered untouched at it",
                                wsi="WSI_JPEG_QUALITY", group="pixels")  # fmt: skip
    render_threads: int = _option(_CORES, whole(1, 256), "Threads that decode and encode", group="pixels")
    render_queue: int = _option(128, whole(0, 100_000), "Tiles that may wait for a thread before clients are told to"
                                " try again", group="pixels")  # fmt: skip
    max_region_pixels: int = _option(64_000_000, whole(1, 1 << 34), "Pixels of a level rendered for one answer",
                                     unit="px", group="pixels")  # fmt: skip
    thumbnail_tiles: int = _option(4096, whole(1, 1 << 24), "Tiles read for one thumbnail", group="pixels")

    format_priority: tuple[tuple[str, int], ...] = _option(
        (), priorities, "Which formats are asked first, as name=number; a negative one is never chosen by itself",
        group="formats")  # fmt: skip
    local_copies: int = _option(8 << 30, size(0), "Local copies of remote slides, for formats that read paths",
                                unit="bytes", group="formats")  # fmt: skip
    isolate: tuple[str, ...] = _option((), items, "Formats that are read in a process of their own, which may crash",
                                       group="formats")  # fmt: skip

    title: str = _option("WSI Service", text, "Title in the documentation of the API", ws="WS_TITLE", group="v3")
    description: str = _option(
        "Whole slide images, streamed", text, "Description there", ws="WS_DESCRIPTION", group="v3"
    )
    api_version: str | None = _option(None, optional_text, "Version told at /alive (the version of microtome)",
                                      ws="WS_VERSION", group="v3")  # fmt: skip
    local_mode: str | None = _option(None, optional_text, "Mapper of the slides as module:Class, or simple, paths, csv,"
                                     " iterator", ws="WS_LOCAL_MODE", group="v3")  # fmt: skip
    mapper_address: str | None = _option(None, optional_text, "Remote mapper, a URL with {slide_id}",
                                         ws="WS_MAPPER_ADDRESS", group="v3")  # fmt: skip
    v3_api: bool = _option(ON, boolean, "Serve the API of WSI-Service below /v3, and /alive", group="v3")
    local_routes: bool = _option(ON, boolean, "Serve /v3/cases, /v3/slides and their like",
                                 ws="WS_ENABLE_LOCAL_ROUTES", group="v3")  # fmt: skip
    viewer_routes: bool = _option(ON, boolean, "Serve the viewer pages of the v3 API", ws="WS_ENABLE_VIEWER_ROUTES",
                                  group="v3")  # fmt: skip
    disable_openapi: bool = _option(OFF, boolean, "Hide documentation and schemas", ws="WS_DISABLE_OPENAPI", group="v3")
    cors_credentials: bool = _option(OFF, boolean, "Let pages of named origins send credentials",
                                     ws="WS_CORS_ALLOW_CREDENTIALS", group="access")  # fmt: skip
    v3_region_pixels: int = _option(25_000_000, whole(1, 1 << 34), "Pixels of a region of the v3 API", unit="px",
                                    ws="WS_MAX_RETURNED_REGION_SIZE", group="v3")  # fmt: skip
    v3_thumbnail_side: int = _option(500, whole(1, 20_000), "Largest side of a thumbnail of the v3 API", unit="px",
                                     ws="WS_MAX_THUMBNAIL_SIZE", group="v3")  # fmt: skip
    padding_color: tuple[int, int, int] = _option((255, 255, 255), color, "What is painted outside of a slide",
                                                  ws="WS_PADDING_COLOR", group="v3")  # fmt: skip
    pad_tiles: bool = _option(OFF, boolean, "Complete tiles at the edge with the padding colour, instead of cropping",
                              ws="WS_GET_TILE_APPLY_PADDING", group="v3")  # fmt: skip

    integration: str | None = _option(None, optional_text, "Login of the v3 API as module:Class, or none, oidc,"
                                      " lsaai_groups, lsaai_resources", ws="WS_API_V3_INTEGRATION",
                                      group="login")  # fmt: skip
    idp_url: str | None = _option(None, optional_text, "OpenID Connect provider", ws="WS_IDP_URL", group="login")
    audience: str | None = _option(
        None, optional_text, "Audience that tokens must name", ws="WS_AUDIENCE", group="login"
    )
    refresh_interval: float = _option(300.0, duration, "How often keys of the provider are fetched", unit="s",
                                      ws="WS_REFRESH_INTERVAL", group="login")  # fmt: skip
    openapi_token_url: str | None = _option(None, optional_text, "Token URL in the documentation",
                                            ws="WS_OPENAPI_TOKEN_URL", group="login")  # fmt: skip
    openapi_auth_url: str | None = _option(None, optional_text, "Authorisation URL in the documentation",
                                           ws="WS_OPENAPI_AUTH_URL", group="login")  # fmt: skip
    rewrite_wellknown: str | None = _option(None, optional_text, "Beginning of the provider's own URLs that is replaced"
                                            " by idp_url", ws="WS_REWRITE_URL_IN_WELLKNOWN", group="login")  # fmt: skip
    check_acr: str | None = _option(None, optional_text, "Authentication class (acr) that tokens must name",
                                    ws="WS_CHECK_ACR_VALUES", group="login")  # fmt: skip
    userinfo_endpoint: str | None = _option(None, optional_text, "Userinfo of LifeScience logins",
                                            ws="WS_USER_INFO_ENDPOINT", group="login")  # fmt: skip
    userinfo_seconds: float = _option(1800.0, duration, "How long userinfo is kept", unit="s",
                                      ws="WS_USER_CACHE_TIMEOUT", group="login")  # fmt: skip
    userinfo_users: int = _option(999, whole(1, 1 << 20), "Users whose userinfo is kept", ws="WS_USER_CACHE_SIZE",
                                  group="login")  # fmt: skip
    group_prefix: str = _option(".*?:group:[^:]+", text, "Regular expression before the groups in an entitlement",
                                ws="WS_LSAAI_REGEX_PREFIX", group="login")  # fmt: skip
    provider_timeout: float = _option(8.0, duration, "Longest wait for the provider", unit="s", ws="WS_REQUEST_TIMEOUT",
                                      group="login")  # fmt: skip

    table_source: str = _option("data.csv", text, "CSV or TSV file of the csv mapper, or a folder of them",
                                ws="CSWS_SOURCE", group="v3")  # fmt: skip
    table_separator: str = _option("\t", text, "Separator of its columns", ws="CSWS_SEPARATOR", group="v3")
    table_group_1: int = _option(0, whole(0, 1000), "Column of the first group", ws="CSWS_GROUP_1", group="v3")
    table_group_2: int = _option(1, whole(0, 1000), "Column of the second group", ws="CSWS_GROUP_2", group="v3")
    table_slide_id: int = _option(2, whole(0, 1000), "Column of the slide", ws="CSWS_SLIDE_ID", group="v3")
    table_case_id: int = _option(3, whole(0, 1000), "Column of the case", ws="CSWS_CASE_ID", group="v3")
    table_path: int = _option(4, whole(0, 1000), "Column of the path", ws="CSWS_PATH", group="v3")
    institution_pattern: str | None = _option(None, optional_text, "Regular expression whose group 1 is the institution"
                                              " (iterator mapper)", ws="WSIT_INSTITUTION_PATTERN",
                                              group="v3")  # fmt: skip
    project_pattern: str | None = _option(None, optional_text, "Regular expression whose group 1 is the project"
                                          " (iterator mapper)", ws="WSIT_PROJECT_PATTERN", group="v3")  # fmt: skip

    dicomweb: bool = _option(ON, boolean, "Serve DICOMweb below /dicom", group="dicom")
    dicom_index: str | None = _option(None, optional_text, "Index of DICOM files, a path or postgresql://...; else"
                                      " a file in the user's cache folder", group="dicom", secret=True)  # fmt: skip
    dicom_rescan: float = _option(300.0, duration, "How often new and changed files are looked for", unit="s",
                                  group="dicom")  # fmt: skip
    dicom_settle: float = _option(2.0, duration, "So long a file must not have changed before it is read", unit="s",
                                  group="dicom")  # fmt: skip
    dicom_header_size: int = _option(512 << 20, size(1 << 20, 1 << 40), "Header of a DICOM file, without pixels and"
                                     " large values", unit="bytes", group="dicom")  # fmt: skip
    dicom_header_elements: int = _option(10_000_000, whole(1000, 1 << 40), "Data elements in the large sequences of"
                                         " such a header", group="dicom")  # fmt: skip
    dicom_overlays: int = _option(200, whole(0, 10_000), "Segmentations and annotations over one slide", group="dicom")
    dicom_overlay_annotations: int = _option(5_000_000, whole(1, 1 << 31), "Annotations of one group that are drawn",
                                             group="dicom")  # fmt: skip
    dicom_overlay_frames: int = _option(500_000, whole(1, 1 << 31), "Frames of a segmentation that is drawn",
                                        group="dicom")  # fmt: skip
    dicom_overlay_overview: int = _option(100_000, whole(1, 1 << 31), "Frames of a segmentation that is drawn as a"
                                          " whole, for which all are decoded", group="dicom")  # fmt: skip
    dicom_overlay_disk: int = _option(16 << 30, size(1 << 20), "Temporary indexes of annotations on the disk",
                                      unit="bytes", group="dicom")  # fmt: skip
    dicom_slides: bool = _option(ON, boolean, "Show slides of other formats as DICOM", group="dicom")
    dicom_labels: bool = _option(ON, boolean, "Show their labels and overviews, too", group="dicom")
    dicom_attributes: str | None = _option(None, optional_text, "Table (CSV) of patients and specimens of slides: a"
                                           " path, a URL, or a file in the data", group="dicom")  # fmt: skip
    dicom_cases: str | None = _option(None, optional_text, "What the case of a slide in the mapper is called in DICOM:"
                                      " PatientID, AccessionNumber or StudyID", group="dicom")  # fmt: skip
    dicom_store: str | None = _option(None, optional_text, "Folder below the data for instances that are sent (STOW);"
                                      " without, none are accepted", group="dicom")  # fmt: skip
    dicom_deidentify: str = _option("off", text, "Who sees instances without identities, through DICOMweb only: off,"
                                    " everyone, CLAIM=PATTERN of a login, or !CLAIM=PATTERN for all others",
                                    group="dicom")  # fmt: skip
    dicom_deidentify_key: str | None = _option(None, optional_text, "Secret that pseudonyms, UIDs and dates are made"
                                               " with, at least 32 bytes; also lets WADO-URI anonymise", group="dicom",
                                               secret=True)  # fmt: skip
    dicom_deidentify_unmarked: bool = _option(OFF, boolean, "Show them ultrasound, photographs and captured screens"
                                              " that do not say whether text is burned in", group="dicom")  # fmt: skip
    public_url: str | None = _option(None, optional_text, "Where clients reach the server, https://host; for the"
                                     " addresses in DICOMweb answers", group="dicom")  # fmt: skip
    ohif_dir: Path | None = _option(None, optional_path, "Folder of OHIF's files (microtome ohif install)",
                                    group="dicom")  # fmt: skip

    slides_api: bool = _option(ON, boolean, "Serve slides below /slides and /tiles")
    pages: bool = _option(ON, boolean, "Serve the web pages: /, /view, /studies, /scene and others")
    docroot: Path | None = _option(None, optional_path, "Folder of your own pages, served at / where nothing of the"
                                   " server's is")  # fmt: skip
    scene: bool = _option(OFF, boolean, "Serve a Slicer scene below /slicer and /scene (needs microtome[scene])",
                          group="scene")  # fmt: skip
    slicer_api: bool = _option(ON, boolean, "With scene: serve it below /slicer, for clients of 3D Slicer",
                               group="scene")  # fmt: skip
    scene_api: bool = _option(ON, boolean, "With scene: serve it below /scene/v1, which the page /scene needs",
                              group="scene")  # fmt: skip
    scene_roots: tuple[str, ...] = _option((), items, "Folders whose files the scene may read and write (the data"
                                           " folder)", group="scene")  # fmt: skip
    scene_hosts: tuple[str, ...] = _option((), items, "Hosts that the scene may load files and studies from, as"
                                           " name or name:port; .example.org for all below", group="scene")  # fmt: skip
    scene_private_hosts: bool = _option(OFF, boolean, "Load from such hosts at private addresses, too", group="scene")
    scene_names: tuple[str, ...] = _option((), items, "Names by which clients reach the scene, besides addresses,"
                                           " localhost and that of public_url", group="scene")  # fmt: skip
    scene_origins: tuple[str, ...] = _option((), items, "Origins (https://host) whose pages may use the scene",
                                             group="scene")  # fmt: skip
    scene_token: str | None = _option(None, optional_text, "Secret of clients that may use the scene from anywhere and,"
                                      " with scene_exec, run Python; at least 16 bytes", group="scene",
                                      secret=True)  # fmt: skip
    scene_exec: bool = _option(OFF, boolean, "Let clients with the token run Python in the scene: they may do what the"
                               " server may", group="scene")  # fmt: skip
    scene_exec_seconds: float = _option(30.0, duration, "Longest run of such a script", unit="s", group="scene")
    scene_stop: bool = _option(OFF, boolean, "DELETE /slicer/system ends the whole server, not the scene alone",
                               group="scene")  # fmt: skip
    scene_samples: tuple[str, ...] = _option((), items, "Sample data the scene begins with, unless it begins with what"
                                             " was saved: CTChest, MRHead, Markups", group="scene")  # fmt: skip
    scene_autosave: Path | None = _option(None, optional_path, "Bundle (.mrb) that the scene is saved to when it has"
                                          " changed, and begins with", group="scene")  # fmt: skip
    scene_autosave_seconds: float = _option(60.0, duration, "How often it is saved at most", unit="s", group="scene")
    scene_timeout: float = _option(120.0, duration, "Longest answer of the scene, after which it is started again",
                                   unit="s", group="scene")  # fmt: skip
    scene_memory: int = _option(0, size(0), "Address space of the scene's process; 0 for no limit", unit="bytes",
                                group="scene")  # fmt: skip
    scene_undo_memory: int = _option(1 << 30, size(0), "Voxels, surfaces and segments kept to take changes back; the"
                                     " oldest go first", unit="bytes", group="scene")  # fmt: skip
    scene_max_voxels: int = _option(1 << 30, whole(1, 1 << 40), "Voxels of a volume that is loaded", group="scene")
    scene_max_waiting: int = _option(256, whole(1, 1 << 16), "Requests that wait for the scene; others are told to come"
                                     " again", group="scene")  # fmt: skip
    scene_max_working: int = _option(2, whole(1, 64), "Requests that read, make or pack files at the same time; each"
                                     " needs memory of its own", group="scene")  # fmt: skip
    scene_max_upload: int = _option(4 << 30, size(1), "File that is sent to the scene", unit="bytes", group="scene")

    keep_alive: float = _option(75.0, duration, "An idle connection is closed after this time", unit="s")
    shutdown_timeout: float = _option(30.0, duration, "Time for requests in flight when the server stops", unit="s")
    verbose: bool = _option(OFF, boolean, "Log more", flags=("-v",), ws="WS_DEBUG")
    request_log: bool = _option(OFF, boolean, "Log each request on standard error; so does verbose")
    request_log_kept: int = _option(0, whole(0, 10_000), "Requests kept to be seen in the page /scene, with names in"
                                    " their paths, over all processes; 0 for none")  # fmt: skip
    no_tracing: bool = _option(OFF, boolean, "Do not log requests, whatever else says so")
    port_search: bool = _option(OFF, boolean, "When the port is taken, listen on the next free one")

    def __post_init__(self) -> None:
        if self.auth_enabled and not self.auth_secret:
            raise InvalidRequest("--auth-enabled needs --auth-secret", parameter="auth_secret")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise InvalidRequest("--root-path must begin with / and not end with one", parameter="root_path")
        if self.scene_token is not None and len(self.scene_token.encode()) < _SECRET_BYTES:
            raise InvalidRequest(f"--scene-token must have at least {_SECRET_BYTES} bytes", parameter="scene_token")
        if self.scene_exec:
            self._check_exec()
        if self.scene_samples:
            self._check_samples()

    def _check_samples(self) -> None:
        from microtome.scene.calls.samples import SAMPLES

        for name in self.scene_samples:
            if name not in SAMPLES:
                raise InvalidRequest(f"--scene-samples: {name[:100]} is none of {', '.join(SAMPLES)}",
                                     parameter="scene_samples")  # fmt: skip

    def _check_exec(self) -> None:
        """Whoever may run Python may do all that the server may: a token guards it, and nobody can listen to it."""
        if self.scene_token is None:
            raise InvalidRequest("--scene-exec needs --scene-token: scripts are run for its holders only",
                                 parameter="scene_exec")  # fmt: skip
        if self.host not in LOOPBACK and not (self.public_url or "").startswith("https://"):
            raise InvalidRequest(
                "--scene-exec needs --host 127.0.0.1, or a proxy with TLS before the server and its --public-url"
                " https://...: the token could be read on the way",
                parameter="scene_exec",
            )

    @property
    def serves_scene(self) -> bool:
        """Whether there is a scene, and a way to it."""
        return self.scene and (self.slicer_api or self.scene_api)

    @property
    def serves_scene_api(self) -> bool:
        """Whether there is a scene, and ``/scene`` shows it."""
        return self.scene and self.scene_api

    @property
    def reads_slides(self) -> bool:
        """Whether anything of what is served has to do with slides."""
        return self.slides_api or self.v3_api or self.dicomweb or self.serves_scene

    @property
    def auth_secrets(self) -> tuple[str, ...]:
        """All secrets, the signing one first."""
        return self.auth_secret


def options() -> dict[str, Option]:
    """All options by name, in order."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(Settings)}


def default_of(name: str) -> Any:
    """The default of an option."""
    return next(each.default for each in dataclasses.fields(Settings) if each.name == name)


def flag(name: str) -> str:
    """The name on the command line."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Our name in the environment."""
    return PREFIX + name.upper()
