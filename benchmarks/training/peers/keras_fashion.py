"""Fashion-MNIST by Keras, as its example mnist_convnet trains MNIST: two convolutions, Adam, 15 epochs."""

import keras
import numpy as np
from keras import layers
from peer import Epochs, options

CLASSES = 10


class Watch(keras.callbacks.Callback):
    def __init__(self, epochs: Epochs) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 (Keras' signature)
        self._epochs.add((logs or {})["val_accuracy"])
        self.model.stop_training = self._epochs.enough


def network() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def prepared(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images[..., np.newaxis].astype("float32") / 255, keras.utils.to_categorical(labels, CLASSES)


def main() -> None:
    given = options()
    keras.utils.set_random_seed(given.seed)
    epochs = Epochs(given, documented=15)
    train, test = keras.datasets.fashion_mnist.load_data()
    images, labels = prepared(*train)
    if given.quick:
        images, labels = images[:1000], labels[:1000]
    model = network()
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(
        images, labels, batch_size=128, epochs=epochs.most, validation_split=0.1, callbacks=[Watch(epochs)], verbose=0
    )
    model.save("model.keras")
    _, accuracy = model.evaluate(*prepared(*test), verbose=0)
    epochs.report(accuracy, "keras", "tensorflow-cpu")


if __name__ == "__main__":
    main()
