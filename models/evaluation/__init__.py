"""Usefulness, measured: does a segmenter trained with synthetic pictures do better on real ones?"""
