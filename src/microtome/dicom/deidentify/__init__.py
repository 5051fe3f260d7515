"""De-identification on the way out: PS3.15 Annex E, Basic Application Level Confidentiality Profile with the option
Retain Longitudinal Temporal Information with Modified Dates, over the seams ``Index`` and ``Content``.
"""
