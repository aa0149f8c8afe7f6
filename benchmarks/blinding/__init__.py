"""The blinding suite: every detector's attack beside attempts of the suspect to blind the detector."""
