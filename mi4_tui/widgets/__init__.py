"""The parts of the screens: each draws what it is told and computes nothing about tasks."""
