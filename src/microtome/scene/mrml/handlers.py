"""Which function answers which question. Every handler runs in the scene's thread."""

from __future__ import annotations

from microtome.scene.answers import Handler
from microtome.scene.calls import contents as content_calls
from microtome.scene.calls import edit as edit_calls
from microtome.scene.calls import events as event_calls
from microtome.scene.calls import files as file_calls
from microtome.scene.calls import layout as layout_calls
from microtome.scene.calls import nodes as node_calls
from microtome.scene.calls import samples as sample_calls
from microtome.scene.calls import scripts as script_calls
from microtome.scene.calls import slices as slice_calls
from microtome.scene.calls import state as state_calls
from microtome.scene.calls import threed as threed_calls
from microtome.scene.calls import tracking as tracking_calls
from microtome.scene.mrml import (
    contents,
    events,
    layout,
    markups,
    nodes,
    samples,
    scripts,
    segmentations,
    slices,
    state,
    tracking,
)
from microtome.scene.mrml.edit import markups as edit_markups
from microtome.scene.mrml.edit import segments, transforms
from microtome.scene.mrml.files import bundle, load, save, text
from microtome.scene.mrml.threed import rendering, view

HANDLERS: dict[type, Handler] = {
    state_calls.GetState: state.get_state,
    state_calls.Stop: state.stop,
    event_calls.Follow: events.follow,
    event_calls.Undo: events.undo,
    event_calls.Redo: events.redo,
    script_calls.Execute: scripts.execute,
    node_calls.ListNodes: nodes.list_nodes,
    node_calls.NodeProperties: nodes.node_properties,
    node_calls.RemoveNodes: nodes.remove_nodes,
    node_calls.ReloadNodes: load.reload_nodes,
    node_calls.SelectVolume: nodes.select_volume,
    tracking_calls.Track: tracking.track,
    layout_calls.GetLayout: layout.get_layout,
    layout_calls.SetLayout: layout.set_layout,
    layout_calls.Screenshot: layout.screenshot,
    threed_calls.RenderThreeD: view.render_threed,
    threed_calls.GetCamera: view.get_camera,
    threed_calls.TurnCamera: view.turn_camera,
    threed_calls.GetThreeDView: view.get_threed_view,
    threed_calls.SetThreeDView: view.set_threed_view,
    threed_calls.ExportThreeD: view.export_threed,
    threed_calls.GetVolumeRendering: rendering.get_volume_rendering,
    threed_calls.SetVolumeRendering: rendering.set_volume_rendering,
    edit_calls.ListMarkups: edit_markups.list_markups,
    edit_calls.GetMarkup: edit_markups.get_markup,
    edit_calls.CreateMarkup: edit_markups.create_markup,
    edit_calls.UpdateMarkup: edit_markups.update_markup,
    edit_calls.ListSegmentations: segments.list_segmentations,
    edit_calls.UpdateSegmentation: segments.update_segmentation,
    edit_calls.UpdateSegment: segments.update_segment,
    edit_calls.RemoveSegment: segments.remove_segment,
    edit_calls.MeasureSegments: segments.measure_segments,
    edit_calls.ListTransforms: transforms.list_transforms,
    edit_calls.GetTransform: transforms.get_transform,
    edit_calls.CreateTransform: transforms.create_transform,
    edit_calls.PutTransform: transforms.put_transform,
    edit_calls.GetNode: transforms.get_node,
    edit_calls.UpdateNode: transforms.update_node,
    edit_calls.RemoveNode: transforms.remove_node,
    edit_calls.HardenTransform: transforms.harden_transform,
    slice_calls.RenderSlice: slices.render_slice,
    slice_calls.GetSlice: slices.get_slice,
    slice_calls.MoveSlice: slices.move_slice,
    slice_calls.SetLayers: slices.set_layers,
    slice_calls.GetDisplay: slices.get_display,
    slice_calls.SetDisplay: slices.set_display,
    file_calls.LoadFile: load.load_file,
    file_calls.SaveNode: save.save_node,
    file_calls.GetSceneText: text.get_scene_text,
    file_calls.SaveScene: bundle.save_scene,
    sample_calls.LoadSample: samples.load_sample,
    content_calls.ListVolumes: contents.list_volumes,
    content_calls.ListGridTransforms: contents.list_grid_transforms,
    content_calls.GetVolume: contents.get_volume,
    content_calls.PutVolume: contents.put_volume,
    content_calls.GetGridTransform: contents.get_grid_transform,
    content_calls.PutGridTransform: contents.put_grid_transform,
    content_calls.GetFiducials: markups.get_fiducials,
    content_calls.MoveFiducial: markups.move_fiducial,
    content_calls.GetSegmentations: segmentations.get_segmentations,
    content_calls.GetSegmentation: segmentations.get_segmentation,
}
