"""GeoJSON (RFC 7946) of any size, cut into vector tiles on the fly out of an index built once.

Coordinates are px of level 0 of the slide's plane, x right and y down, as QuPath and segmentation tools export them.
Only a ``crs`` member that names longitude and latitude (CRS84, EPSG:4326) or Web Mercator (EPSG:3857) makes a map of
the file, and only as long as all coordinates lie in the range of such a system: many writers name CRS84 whatever they
write. Without ``crs``, small numbers are px, too.
"""
