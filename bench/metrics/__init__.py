"""The rulers: pure functions of draws and densities that return an estimate with its uncertainty."""
