"""Which function answers which question. Every handler runs in the scene's thread."""

from __future__ import annotations

from microtome.scene.calls import files as file_calls
from microtome.scene.calls import layout as layout_calls
from microtome.scene.calls import nodes as node_calls
from microtome.scene.calls import slices as slice_calls
from microtome.scene.calls import state as state_calls
from microtome.scene.calls import threed as threed_calls
from microtome.scene.mrml import layout, nodes, slices, state
from microtome.scene.mrml.files import load, save
from microtome.scene.mrml.threed import rendering, view
from microtome.scene.process import Handler

HANDLERS: dict[type, Handler] = {
    state_calls.GetState: state.get_state,
    state_calls.Stop: state.stop,
    node_calls.ListNodes: nodes.list_nodes,
    node_calls.NodeProperties: nodes.node_properties,
    node_calls.RemoveNodes: nodes.remove_nodes,
    node_calls.ReloadNodes: nodes.reload_nodes,
    layout_calls.GetLayout: layout.get_layout,
    layout_calls.SetLayout: layout.set_layout,
    layout_calls.Screenshot: layout.screenshot,
    threed_calls.RenderThreeD: view.render_threed,
    threed_calls.GetCamera: view.get_camera,
    threed_calls.TurnCamera: view.turn_camera,
    threed_calls.SetThreeDView: view.set_threed_view,
    threed_calls.ExportThreeD: view.export_threed,
    threed_calls.GetVolumeRendering: rendering.get_volume_rendering,
    threed_calls.SetVolumeRendering: rendering.set_volume_rendering,
    slice_calls.RenderSlice: slices.render_slice,
    slice_calls.GetSlice: slices.get_slice,
    slice_calls.MoveSlice: slices.move_slice,
    slice_calls.SetLayers: slices.set_layers,
    slice_calls.GetDisplay: slices.get_display,
    slice_calls.SetDisplay: slices.set_display,
    file_calls.LoadFile: load.load_file,
    file_calls.SaveNode: save.save_node,
}
