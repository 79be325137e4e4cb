"""Trajectories in the forms of other people's viewers (`armlite export traces`): OpenTelemetry's, OpenInference's and
Inspect's. Only a reading of what is kept: nothing here is sent anywhere.
"""
