"""`stylize eval`: every technique on a world with ground truth: does it take the style, does it keep the content?"""
