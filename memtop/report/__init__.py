"""A log as a page that opens anywhere, or as pictures. Beside the front ends: log in, files out, no session.

The charts are Vega-Lite, drawn by vl-convert: one wheel without dependencies that draws SVG and PNG without a browser
and carries the script that makes the page's charts answer to the pointer. It is an extra: imported when a report is
made, and only then.
"""
