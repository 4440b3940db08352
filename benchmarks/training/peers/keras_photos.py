"""Photographs by Keras, as its example image_classification_from_scratch: a small Xception, Adam, batches of 128.

The example fits images to 180 pixels; here they stay at their 128, which takes half of the time.
"""

from pathlib import Path

import keras
import tensorflow as tf
from keras import layers
from keras_fashion import Watch
from peer import Epochs, options

SIDE = 128
BATCH = 128


def separable(x: keras.KerasTensor, size: int) -> keras.KerasTensor:
    x = layers.SeparableConv2D(size, 3, padding="same")(x)
    return layers.BatchNormalization()(x)


def network(classes: int) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(128, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = before = layers.Activation("relu")(x)
    for size in (256, 512, 728):
        x = separable(layers.Activation("relu")(x), size)
        x = separable(layers.Activation("relu")(x), size)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = before = layers.add([x, layers.Conv2D(size, 1, strides=2, padding="same")(before)])
    x = layers.Activation("relu")(separable(x, 1024))
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def main() -> None:
    given = options()
    keras.utils.set_random_seed(given.seed)
    epochs = Epochs(given, documented=25)
    folder, fitted = (
        Path(given.data),
        {"image_size": (SIDE, SIDE), "batch_size": 8 if given.quick else BATCH, "verbose": False},
    )
    train, validation = keras.utils.image_dataset_from_directory(
        folder / "train", validation_split=0.2, subset="both", seed=1337 + given.seed, **fitted
    )
    tests = keras.utils.image_dataset_from_directory(folder / "test", shuffle=False, **fitted)
    classes = len(tests.class_names)
    if given.quick:
        train, validation, tests = train.take(1), validation.take(1), tests.take(1)
    turn, mirror = layers.RandomRotation(0.1), layers.RandomFlip("horizontal")
    train = train.map(
        lambda images, labels: (turn(mirror(images, training=True), training=True), labels), tf.data.AUTOTUNE
    )
    model = network(classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(3e-4), loss=loss, metrics=["accuracy"])
    model.fit(
        train.prefetch(tf.data.AUTOTUNE),
        validation_data=validation.prefetch(tf.data.AUTOTUNE),
        epochs=epochs.most,
        callbacks=[keras.callbacks.ModelCheckpoint("save_at_{epoch}.keras"), Watch(epochs)],
        verbose=0,
    )
    _, accuracy = model.evaluate(tests, verbose=0)
    epochs.report(accuracy, "keras", "tensorflow-cpu")


if __name__ == "__main__":
    main()
